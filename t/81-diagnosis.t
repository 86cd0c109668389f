# Tests of the sentences of check: for servers with the mistakes that students
# make, each names the true cause or states only what was observed, and nothing
# else is said about the server. Correct servers of many kinds are not accused.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use CheckRun;
use EchoTest;
use IO::Socket::INET ();
use Test::More;
use WrongServers;

my $DEAD = ', and the server has accepted no connection since';
my $DECODES = 'decodes the bytes of each recv as UTF-8, and fails at a part ' .
    'of a character';
my $CHUNK_16 = 'takes a recv of fewer than 16 bytes for the end of the message';

# What precedes each server in Python. The server is a function that serves
# one connection; serve() calls it for one client after another.
my $prelude = <<'END';
import os, select, socket, sys, time
backlog = 128
listener = socket.socket()
def listen():
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(backlog)
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
def serve(function):
    listen()
    while True:
        connection, _ = listener.accept()
        try:
            function(connection)
        finally:
            connection.close()
END

# The loop of the homework: reads 16 bytes, and answers them at once. $before
# and $after are statements around that, and $end is the condition of the end.
sub loop {
	my (%part) = (size => 16, before => 'pass', after => 'pass',
	    end => 'len(data) < 16', @_);
	return <<END;
def echo(connection):
    while True:
        data = connection.recv($part{size})
        $part{before}
        connection.sendall(data)
        $part{after}
        if $part{end}:
            break
serve(echo)
END
}

# Collects what it reads, and answers when a read is short.
my $gather = <<'END';
def echo(connection):
    all = b""
    while True:
        data = connection.recv(16)
        all += data
        if len(data) < 16:
            break
    connection.sendall(all)
serve(echo)
END

# Each case: a name, a server, arguments of check, and the results that are not
# "ok" or "not tried" as [test, message]. A message may be a pattern. A test
# that is missing here must pass or not have been tried.
my @rfc862 = ('--profile=rfc862');
my @cases = (
	[ 'decodes each chunk, and ends at a short one',
	    loop(before => 'print(data.decode("utf8"), file=sys.stderr)'),
	    \@rfc862, [ 'utf8-split', "reset the connection without an answer" .
	    "$DEAD: $DECODES" ] ],
	[ 'the same, only one test', loop(before => 'data.decode("utf8")'),
	    [ '--only=every-byte' ], [ 'every-byte', "reset the connection " .
	    "after 128 of 256 bytes$DEAD: decodes the bytes as text, and " .
	    'fails at a byte above 127' ] ],
	[ 'decodes what it has sent', loop(after => 'data.decode("utf8")'),
	    \@rfc862, [ 'utf8-split', "reset the connection after 16 of 19 " .
	    "bytes$DEAD: decodes each recv of 16 bytes as UTF-8, and fails " .
	    'at a part of a character' ] ],
	[ 'decodes 1024 bytes', loop(size => 1024, end => 'not data',
	    before => 'print(data.decode("utf8"), file=sys.stderr)'),
	    \@rfc862, [ 'every-byte', "closed without an answer$DEAD: decodes " .
	    'the bytes of each recv as UTF-8, and fails at a byte that is ' .
	    'not UTF-8' ] ],
	[ 'decodes ASCII', loop(end => 'not data',
	    before => 'data.decode("ascii")'), \@rfc862,
	    [ 'utf8', qr/^reset the connection without an answer$DEAD: decodes the bytes as (?:text|ASCII), and fails at a byte above 127$/ ] ],
	[ 'counts characters', loop(
	    before => 'text = data.decode("utf8", "replace")',
	    end => 'len(text) < 16'), [ '--profile=homework' ],
	    [ 'utf8', qr/^reset the connection after 16 of 28 bytes: counts characters instead of bytes, and takes fewer than / ],
	    [ 'utf8-split', qr/: counts characters instead of bytes, / ] ],
	[ 'always gives the same answer', <<'END', [ '--only=bytes-1,text,line' ],
def answer(connection):
    data = connection.recv(1024)
    connection.sendall(b"message received")
    while data:
        data = connection.recv(1024)
serve(answer)
END
	    map [ $_, 'the same 16 bytes came back for two messages: the ' .
	    'answer does not depend on the message' ], qw(bytes-1 text line) ],
	[ 'collects until a short read', $gather,
	    [ '--profile=homework' ],
	    map [ $_, 'answered only after a newline: waits for a recv of ' .
	    'fewer than 16 bytes before it answers' ], qw(bytes-16 bytes-32) ],
	[ 'ends at a short read', loop(), [ '--only=bytes-32,messages,' .
	    'two-bursts,bytes-1M' ],
	    [ 'bytes-1M', "ended the connection after 1 of 1048576 bytes: $CHUNK_16" ],
	    map [ $_, qr/^ended the connection after 70 of \d+ bytes: $CHUNK_16$/ ],
	    qw(messages two-bursts) ],
	[ 'ends at a short read, and leaves the connection open', <<'END',
kept = []
def echo(connection):
    while True:
        data = connection.recv(16)
        connection.sendall(data)
        if len(data) < 16:
            break
    kept.append(connection.dup())
serve(echo)
END
	    [ '--only=bytes-17,two-bursts' ], [ 'two-bursts', "did not answer " .
	    "any more after a pause: takes a short recv for the end of the " .
	    'message, and leaves the connection open' ] ],
	[ 'does not notice the end of the client', loop(end => 'False'),
	    \@rfc862, [ 'bytes-1', qr/^the echo was correct, but the server did not close .* and then served no other client: it does not notice that a client has closed$/ ] ],
	[ 'has no loop', <<'END', \@rfc862,
listen()
connection, _ = listener.accept()
while data := connection.recv(1024):
    connection.sendall(data)
END
	    [ 'bytes-1', 'the echo was correct, but the server has accepted ' .
	    'no connection since: it serves one client only' ] ],
	[ 'closes the listener with the client', <<'END', \@rfc862,
def echo(connection):
    while data := connection.recv(1024):
        connection.sendall(data)
    listener.close()
serve(echo)
END
	    [ 'bytes-1', 'the echo was correct, but the server has accepted ' .
	    'no connection since: it serves one client only' ] ],
	[ 'ends at an empty connection', <<'END', \@rfc862,
def echo(connection):
    data = connection.recv(1024)
    assert data
    while data:
        connection.sendall(data)
        data = connection.recv(1024)
serve(echo)
END
	    [ 'no-banner', 'the server has accepted no connection since the ' .
	    'client closed without a message' ] ],
	[ 'reads lines, and never closes', <<'END', [ '--only=line,text,empty' ],
kept = []
def echo(connection):
    kept.append(connection.dup())
    for line in connection.makefile("rb"):
        connection.sendall(line)
serve(echo)
END
	    [ 'text', 'answered only after a newline: answers only complete ' .
	    'lines' ],
	    [ 'empty', "did not close after the client's end of file" ] ],
	# The server has not yet come to the empty connection, and to the one
	# after it.
	[ 'is busy with an earlier client', <<'END', [ '-t300ms', '--only=bytes-1,two-bursts,empty' ],
def echo(connection):
    size = 0
    while data := connection.recv(65536):
        size += len(data)
        if size > 70:
            time.sleep(4)
            return
        connection.sendall(data)
serve(echo)
END
	    [ 'two-bursts', 'did not answer any more after a pause' ],
	    [ 'empty', "did not close after the client's end of file" ] ],
	[ 'waits for a marker', <<'END', [ '--only=bytes-1,text' ],
def echo(connection):
    all = b""
    while not all.endswith(b"END"):
        data = connection.recv(1024)
        if not data:
            return
        all += data
    connection.sendall(all)
serve(echo)
END
	    [ 'bytes-1', 'did not answer, not even after a newline, CR LF, a ' .
	    'NUL byte and end of file' ] ],
	[ 'has a short queue, and is slow', <<'END', [ '--only=50-at-once' ],
backlog = 0
def echo(connection):
    while data := connection.recv(65536):
        time.sleep(0.2)
        connection.sendall(data)
serve(echo)
END
	    [ '50-at-once', 'cannot connect: timed out: the queue of ' .
	    'connections (backlog) stayed full' ] ],
	[ 'is correct, behind a proxy that closes at the FIN', <<'END',
target = socket.create_server(("127.0.0.1", 0))
if not os.fork():
    while True:
        connection, _ = target.accept()
        while data := connection.recv(65536):
            time.sleep(0.02)
            connection.sendall(data)
        connection.close()
def proxy(client):
    server = socket.create_connection(target.getsockname())
    while True:
        for ready in select.select([client, server], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return server.close()
            (server if ready is client else client).sendall(data)
serve(proxy)
END
	    [ '--only=bytes-4096,fin,empty' ], [ 'fin', 'closed without an ' .
	    'answer: the server, or a proxy in between, drops pending ' .
	    "output at the client's end of file" ] ],
	[ 'one message when nothing waits', loop(
	    end => 'not select.select([connection], [], [], 0)[0]',
	    before => 'if not data: return'),
	    [ '--only=bytes-32,two-bursts' ], [ 'two-bursts', qr/^ended the connection after 70 of 140 bytes(?:: takes the time when no byte is waiting for the end of the message|: one message per connection)?$/ ] ]
);

# The messages of a run by test, without those of tests that were not tried.
sub messages {
	my ($run) = @_;
	my $tap = parse_tap($run);
	my %message = map { $_ => $tap->{yaml}{$_}{message} }
	    @{ $tap->{failed} };
	delete @message{ grep { $message{$_} =~ /^not tried: / }
	    keys %message };
	return \%message;
}

my $python = system('python3 -c "" 2>/dev/null') == 0;
for my $case (@cases) {
	my ($name, $source, $args, @expected) = @$case;
	SKIP: {
		skip 'no python3', 1 unless $python;
		my $server = start_command({ name => $name }, 'python3', '-c',
		    "$prelude$source");
		my $run = check($server, '-t2s', @$args);
		my $got = messages($run);
		my %expected = map { @$_ } @expected;
		subtest "server that $name" => sub {
			for my $test (sort keys %expected) {
				my $message = $expected{$test};
				ref $message ?
				    like $got->{$test}, $message, $test :
				    is $got->{$test}, $message, $test;
			}
			my @other = grep { !exists $expected{$_} } sort keys %$got;
			is "@other", '', 'nothing else is said' or
			    diag map { "$_: $got->{$_}\n" } @other;
		} or diag show($run->{out}, 6000);
	}
}

# Correct servers, each as a command in which PORT is replaced.
my @right = (
	[ 'socat', 'TCP-LISTEN:PORT,bind=127.0.0.1,fork,reuseaddr,backlog=128',
	    'EXEC:cat' ],
	[ 'tcpserver', '-RHl0', '127.0.0.1', 'PORT', 'cat' ],
	[ 'node', '-e', 'require("net").createServer({ allowHalfOpen: true }, ' .
	    'c => { c.on("error", () => {}); c.pipe(c); })' .
	    '.listen(PORT, "127.0.0.1")' ],
	[ 'python3', '-c', 'import socketserver as s
class Echo(s.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(16):
            self.request.sendall(data)
s.TCPServer.allow_reuse_address = True
s.TCPServer.request_queue_size = 128
s.TCPServer(("127.0.0.1", PORT), Echo).serve_forever()' ]
);
for my $command (@right) {
	my ($program, @args) = @$command;
	SKIP: {
		skip "no $program", 1
		    if system("command -v $program >/dev/null 2>&1") != 0;
		# Freed here: these programs cannot choose a port.
		my ($port) = (closed_port())[1] =~ /(\d+)$/;
		s/PORT/$port/ for @args;
		my $server = start_command({ name => $program }, 'sh', '-c',
		    'echo "listening on 127.0.0.1:$1"; shift; exec "$@"', 'sh',
		    $port, $program, @args);
		wait_until(sub { IO::Socket::INET->new("127.0.0.1:$port") });
		my $run = check($server, '-t10s');
		is_deeply messages($run), {}, "$program is correct" or
		    diag $run->{out};
	}
}
for my $case ([ 'plain' ], [ 'byte-by-byte' ], [ 'starts-slowly', 0.2 ],
    [ 'one-at-a-time' ]) {
	my $run = check(start_wrong(@$case), '-t10s');
	is_deeply messages($run), {}, "@$case is correct" or diag $run->{out};
}

done_testing;
