--- `perigee approve`.
return require 'command.decide' 'approve'
