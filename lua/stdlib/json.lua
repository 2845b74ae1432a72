--- JSON: json.decode(text) -> value | nil, message; json.encode(value [, indent]), always canonical
--- (RFC 8785); json.array(t) marks a table that is [] even when it is empty; json.null stands for
--- null in arrays (an object's null is an absent field).
return require 'perigee.json'
