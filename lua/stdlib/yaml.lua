--- YAML: yaml.decode(text [, as_text]) -> value, places, next | nil, { message, line, column }. The
--- first document counts; next is where a second begins. places[table][key] is { line, column }.
--- With as_text plain scalars such as 1.10 or true stay the texts that are written.
return require 'perigee.yaml'
