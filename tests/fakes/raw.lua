--- A server and a client that send the bytes they are given, however wrong they are as HTTP: what
--- module http will not, for it knows better. In Perl, because that is on every Debian, and no
--- sockets for Lua are.
local async = require 'async'
local file = require 'perigee.file'
local process = require 'perigee.process'

local raw = {}

local SERVER = [[
use strict; use warnings; use IO::Socket::INET; use Socket qw(SOL_SOCKET SO_LINGER);
my ($end) = @ARGV;
my $answer = do { local $/; <STDIN> };
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16) or die $!;
$| = 1;
print $server->sockport, "\n";
my @kept;
while (my $c = $server->accept) {
  my $request = '';
  while ($request !~ /\r\n\r\n/) { sysread($c, $request, 65536, length $request) or last }
  my $wanted = $request =~ /content-length: *(\d+)/i ? $1 : 0;
  my $have = length($request) - index($request, "\r\n\r\n") - 4;
  while ($have < $wanted) { $have += sysread($c, my $part, 65536) || last }
  syswrite($c, $answer);
  setsockopt($c, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)) if $end eq 'reset';
  if ($end eq 'hang') { push @kept, $c } else { close $c }
}
]]

local CLIENT = [[
use strict; use warnings; use IO::Socket::INET; use IO::Select;
my ($port, $pause, $seconds, $many) = @ARGV;
my $bytes = do { local $/; <STDIN> };
my @sockets = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die $! }
  1 .. $many;
my $s = $sockets[0];
$SIG{PIPE} = 'IGNORE';
for my $piece ($pause ? split //, $bytes : $bytes) {
  syswrite($_, $piece) for @sockets;
  last if $pause && IO::Select->new($s)->can_read($pause);
}
my $end = time + $seconds;
while (IO::Select->new($s)->can_read($end - time)) {
  sysread($s, my $part, 65536) or last;
  print $part;
}
]]

--- Waits until the program has said something that matches, and returns the capture.
---@param output string  the file its words go to
---@param pattern string
function raw.wait_for(output, pattern)
  for _ = 1, 1000 do
    local found = (file.read(output) or ''):match(pattern)
    if found then return found end
    async.sleep(0.01)
  end
  error('it says: ' .. (file.read(output) or 'nothing'))
end

--- Ends a child and takes away the folder of what it said.
function raw.finish(child, folder)
  child:kill(9)
  child:wait()
  os.remove(folder .. '/out')
  os.remove(folder)
end

--- Serves until it is closed.
---@param answer string  sent to every request, once it is complete
---@param ending? "close"|"reset"|"hang"  of the connection, behind the answer; "close"
---@return { url: string, close: fun(self) }
function raw.serve(answer, ending)
  local folder = assert(file.temporary_folder 'perigee-raw')
  local child = assert(process.start { 'perl', '-e', SERVER, ending or 'close',
    input = answer, output = folder .. '/out' })
  local port = raw.wait_for(folder .. '/out', '^(%d+)\n')
  return { url = 'http://127.0.0.1:' .. port,
    close = function() raw.finish(child, folder) end }
end

---@class raw.Options
---@field pause? number    seconds between two bytes; all are sent at once
---@field seconds? number  how long an answer is waited for, at most; 5
---@field many? integer    connections that are opened, and that the same is sent by

--- Starts to send bytes to a port of 127.0.0.1.
---@param options? raw.Options
---@return perigee.process child  it writes what it gets until the connection ends
function raw.start(port, bytes, options)
  local o = options or {}
  return assert(process.start { 'perl', '-e', CLIENT, tostring(port), tostring(o.pause or 0),
    tostring(o.seconds or 5), tostring(o.many or 1), input = bytes })
end

--- Sends bytes and returns what comes back until the connection ends.
---@return string
function raw.send(port, bytes, options)
  local status, out, err = raw.start(port, bytes, options):wait(60)
  assert(status == 0, err)
  return out
end

return raw
