--- JSON: json.decode(text [, nulls]) -> value | nil, message; json.encode(value [, indent]), always
--- canonical (RFC 8785); json.array(t) marks a table that is [] even when it is empty; json.null
--- stands for null in arrays, and with nulls = true in objects (else it is an absent field).
return require 'perigee.json'
