--- `perigee reject`.
return require 'command.decide' 'reject'
