--- YAML: yaml.decode(text) -> value, places | nil, { message, line, column }. The first document
--- counts; places[table][key] is { line, column }.
return require 'perigee.yaml'
