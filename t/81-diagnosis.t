# Tests of the sentences of check: for servers with the mistakes that students
# make, each sentence names the true cause or states only the observation, and
# makes no other statement about the server. Correct servers of many kinds pass.
# With ECHO_RUNS=10 in the environment, only correct servers are tested, ten
# times each.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use CheckRun;
use EchoTest;
use File::Temp ();
use IO::Socket::INET ();
use Test::More;
use WrongServers;

my $DEAD = '; the server has accepted no connection since';
my $DECODES = 'decodes the bytes of each recv as UTF-8, and fails at a ' .
    'character that two recvs share';
my $NOT_CLOSED = 'the echo was correct, but then the server neither closed ' .
    "at the client's end of file nor served another client after this one " .
    'had closed';
my $CHUNK_16 = 'takes a recv of fewer than 16 bytes for the end of the message';

# The code before each server in Python. The server is a function that serves
# one connection; serve() calls this function for one client after another.
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
# and $after are statements before and after this, and $end is the condition of
# the end.
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

# The code before each server in Perl. take() returns an empty string at end of
# file.
my $perl_prelude = <<'END';
use strict; use warnings;
use Encode (); use IO::Select (); use IO::Socket::INET (); use Time::HiRes ();
my ($backlog, $listener, @kept) = (128);
sub start {
	$listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
	    LocalPort => 0, Listen => 1) or die $@;
	listen $listener, $backlog;
	syswrite STDOUT, 'listening on 127.0.0.1:' . $listener->sockport . "\n";
}
sub take { sysread $_[0], my $data, $_[1]; return $data // '' }
sub serve {
	my ($function) = @_;
	start();
	while (my $c = $listener->accept) {
		$function->($c);
		close $c;
	}
	die 'accept';
}
END

# The same loop in Perl, and the server that collects.
sub perl_loop {
	my (%part) = (size => 16, before => '', after => '',
	    end => 'length $data < 16', @_);
	return <<END;
serve(sub {
	my (\$c) = \@_;
	while (1) {
		my \$data = take(\$c, $part{size});
		$part{before};
		syswrite \$c, \$data;
		$part{after};
		last if $part{end};
	}
});
END
}

my $decode = 'Encode::decode("UTF-8", my $copy = $data, Encode::FB_CROAK())';

my $perl_gather = <<'END';
serve(sub {
	my ($c) = @_;
	my ($all, $data) = ('');
	do { $all .= $data = take($c, 16) } while length $data == 16;
	syswrite $c, $all;
});
END

# Each case: a name, a server in Python, the same in Perl, arguments of check,
# and the results that are not "ok" or "not tried" as [test, message]. A message
# may be a pattern. A test that is missing here must pass or not have been tried.
my @rfc862 = ('--profile=rfc862');
my @cases = (
	[ 'decodes each chunk, and ends at a short one',
	    loop(before => 'print(data.decode("utf8"), file=sys.stderr)'),
	    perl_loop(before => $decode),
	    \@rfc862, [ 'utf8-split', "ended the connection without an answer" .
	    ": $DECODES$DEAD" ] ],
	[ 'the same, only one test', loop(before => 'data.decode("utf8")'),
	    perl_loop(before => $decode),
	    [ '--only=every-byte' ], [ 'every-byte', "reset the connection " .
	    "after 128 of 256 bytes: decodes the bytes as text, and fails at " .
	    "a byte above 127$DEAD" ] ],
	[ 'the same, only the split character', loop(before => 'data.decode("utf8")'),
	    perl_loop(before => $decode), [ '--only=utf8-split' ],
	    [ 'utf8-split', 'ended the connection without an answer: decodes ' .
	    'the bytes as text, and fails at a byte above 127, or at a ' .
	    "character that two recvs share$DEAD" ] ],
	[ 'decodes what it has sent', loop(after => 'data.decode("utf8")'),
	    perl_loop(after => $decode),
	    \@rfc862, [ 'utf8-split', "reset the connection after 16 of 19 " .
	    "bytes: decodes each recv of 16 bytes as UTF-8, and fails at a " .
	    "character that two recvs share$DEAD" ] ],
	[ 'decodes 1024 bytes', loop(size => 1024, end => 'not data',
	    before => 'print(data.decode("utf8"), file=sys.stderr)'),
	    perl_loop(size => 1024, end => '$data eq ""', before => $decode),
	    \@rfc862, [ 'every-byte', "ended the connection without an answer: decodes " .
	    'the bytes of each recv as UTF-8, and fails at a byte that is ' .
	    "not UTF-8$DEAD" ] ],
	[ 'decodes ASCII', loop(end => 'not data',
	    before => 'data.decode("ascii")'), perl_loop(end => '$data eq ""',
	    before => 'die if $data =~ /[\x80-\xff]/'), \@rfc862,
	    [ 'utf8', qr/^ended the connection without an answer: decodes the bytes as (?:text, and fails at a byte above 127, or at a character that two recvs share|ASCII, and fails at a byte above 127)$DEAD$/ ] ],
	[ 'counts characters', loop(
	    before => 'text = data.decode("utf8", "replace")',
	    end => 'len(text) < 16'), perl_loop(
	    end => 'length Encode::decode("UTF-8", my $copy = $data) < 16'),
	    [ '--profile=homework' ],
	    [ 'utf8', qr/^reset the connection after 16 of 28 bytes: counts characters instead of bytes to find the end of the message(?:, after each recv of 16 bytes)?\z/ ],
	    [ 'utf8-split', qr/: counts characters instead of bytes to / ] ],
	[ 'always gives the same answer', <<'END', <<'PERL', [ '--only=bytes-1,text,line' ],
def answer(connection):
    data = connection.recv(1024)
    connection.sendall(b"message received")
    while data:
        data = connection.recv(1024)
serve(answer)
END
serve(sub {
	my ($c) = @_;
	my $data = take($c, 1024);
	syswrite $c, 'message received';
	$data = take($c, 1024) while $data ne '';
});
PERL
	    map [ $_, 'the same 16 bytes came back for two messages: the ' .
	    'answer does not depend on the message' ], qw(bytes-1 text line) ],
	[ 'greets, and answers lines', <<'END', <<'PERL', [ '--only=bytes-1,line,bytes-4096' ],
def echo(connection):
    connection.sendall(b"Welcome!\r\n")
    for line in connection.makefile("rb"):
        connection.sendall(line)
serve(echo)
END
serve(sub {
	my ($c) = @_;
	syswrite $c, "Welcome!\r\n";
	while (my $line = <$c>) { syswrite $c, $line }
});
PERL
	    [ 'bytes-1', 'the same 10 bytes came first in several answers' ],
	    [ 'bytes-4096', 'the same 10 bytes came first in several answers' ],
	    [ 'line', 'the same 10 bytes came before the echo of two ' .
	    'messages' ] ],
	[ 'adds words before and a line end after each message', <<'END', <<'PERL', [ '--only=bytes-1,text' ],
def echo(connection):
    while data := connection.recv(1024):
        connection.sendall(b"You typed: " + data + b"\r\n")
serve(echo)
END
serve(sub {
	my ($c) = @_;
	while ((my $data = take($c, 1024)) ne '') {
		syswrite $c, "You typed: $data\r\n";
	}
});
PERL
	    map [ $_, 'the same 11 bytes came before the echo of two messages' ],
	    qw(bytes-1 text) ],
	[ 'sends without end after each message', <<'END', <<'PERL', [ '--only=bytes-1' ],
def echo(connection):
    data = connection.recv(1024)
    while True:
        connection.sendall(data + b"null\n" * 1024)
        data = b""
def serve_all(connection):
    try:
        echo(connection)
    except OSError:
        pass
serve(serve_all)
END
$SIG{PIPE} = 'IGNORE';
serve(sub {
	my ($c) = @_;
	my $data = take($c, 1024);
	while (syswrite $c, $data . "null\n" x 1024) { $data = '' }
});
PERL
	    [ 'bytes-1', 'more than 4096 surplus bytes came after the message' ] ],
	[ 'is late once', <<'END', <<'PERL', [ '-t5s', '--only=bytes-1,text,again' ],
count = 0
def echo(connection):
    global count
    data = connection.recv(1024)
    count += 1
    if count == 3:
        time.sleep(6)
    connection.sendall(data)
    connection.recv(1024)
serve(echo)
END
my $count = 0;
serve(sub {
	my ($c) = @_;
	my $data = take($c, 1024);
	sleep 6 if ++$count == 3;
	syswrite $c, $data;
	take($c, 1024);
});
PERL
	    [ 'text', 'was late: the message did not come back in time, but ' .
	    'when it was sent again' ] ],
	[ 'answers in HTTP', <<'END', <<'PERL', [ '--only=bytes-1,line,utf8-split' ],
def answer(connection):
    connection.recv(1024)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
serve(answer)
END
serve(sub {
	my ($c) = @_;
	take($c, 1024);
	syswrite $c, "HTTP/1.1 400 Bad Request\r\n\r\n";
});
PERL
	    map [ $_, 'the answer is HTTP: the server does not echo bytes' ],
	    qw(bytes-1 line utf8-split) ],
	[ 'strips the bytes of its only recv', <<'END', <<'PERL', [ '--only=text,line,bytes-4096' ],
def echo(connection):
    connection.sendall(connection.recv(1024).strip())
serve(echo)
END
serve(sub {
	my ($c) = @_;
	syswrite $c, take($c, 1024) =~ s/^\s+|\s+$//gr;
});
PERL
	    [ 'line', qr/^(?:closed after 23 of 24 bytes|white space at (?:both ends|the end) was stripped)$/ ],
	    [ 'bytes-4096', 'reset the connection after 1024 of 4096 bytes: ' .
	    'calls recv once per connection, for at most 1024 bytes' ] ],
	[ 'sends its whole buffer', <<'END', <<'PERL', [ '--only=bytes-1,bytes-13,bytes-4096' ],
def echo(connection):
    while data := connection.recv(80):
        connection.sendall(data.ljust(80, b"\0"))
serve(echo)
END
serve(sub {
	my ($c) = @_;
	while ((my $data = take($c, 80)) ne '') {
		syswrite $c, pack 'a80', $data;
	}
});
PERL
	    [ 'bytes-4096', 'NUL bytes fill up each answer to a multiple of ' .
	    '80 bytes' ],
	    map [ $_, 'NUL bytes fill up each answer to 80 bytes' ],
	    qw(bytes-1 bytes-13) ],
	[ 'sends its whole buffer once', <<'END', <<'PERL', [ '--only=bytes-1' ],
listen()
connection, _ = listener.accept()
connection.sendall(connection.recv(80).ljust(80, b"\0"))
END
start();
my $c = $listener->accept;
syswrite $c, pack 'a80', take($c, 80);
PERL
	    [ 'bytes-1', "79 NUL bytes were added$DEAD" ] ],
	[ 'sends a word before each line', <<'END', <<'PERL', [ '--only=bytes-1,text,line' ],
def echo(connection):
    for line in connection.makefile("rb"):
        connection.sendall(b"Echo: " + line)
serve(echo)
END
serve(sub {
	my ($c) = @_;
	while (my $line = <$c>) { syswrite $c, "Echo: $line" }
});
PERL
	    [ 'line', 'the same 6 bytes came before the echo of two messages' ],
	    map [ $_, 'answered only after a newline, and the answer does ' .
	    'not begin with the message' ], qw(bytes-1 text) ],
	[ 'reads lines of one client only', <<'END', <<'PERL', [ '--only=bytes-1,line' ],
def echo(connection):
    for line in connection.makefile("rb"):
        connection.sendall(line)
    while True:
        time.sleep(1)
serve(echo)
END
serve(sub {
	my ($c) = @_;
	while (my $line = <$c>) { syswrite $c, $line }
	sleep 1 while 1;
});
PERL
	    [ 'bytes-1', 'answered only after a newline; the server served ' .
	    'no other client after this one had closed' ] ],
	[ 'answers 16 bytes at a time, slowly', loop(end => 'not data',
	    before => 'time.sleep(0.1)'), perl_loop(end => '$data eq ""',
	    before => 'Time::HiRes::sleep(0.1)'),
	    [ '-t1s', '--only=bytes-1,bytes-4096' ], [ 'bytes-4096',
	    qr/^is slow: only \d+ of 4096 bytes came back within 12\.\d s$/ ] ],
	[ 'collects until a short read', $gather, $perl_gather,
	    [ '--profile=homework' ],
	    map [ $_, 'answered only after a newline: waits for a recv of ' .
	    'fewer than 16 bytes before it answers' ], qw(bytes-16 bytes-32) ],
	[ 'ends at a short read', loop(), perl_loop(), [ '--only=bytes-32,messages,' .
	    'two-bursts,bytes-1M' ],
	    [ 'bytes-1M', "ended the connection after 1 of 1048576 bytes: $CHUNK_16" ],
	    map [ $_, qr/^ended the connection after 70 of \d+ bytes: $CHUNK_16$/ ],
	    qw(messages two-bursts) ],
	[ 'ends at a short read, and leaves the connection open', <<'END', <<'PERL',
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
serve(sub {
	my ($c) = @_;
	my $data;
	do { syswrite $c, $data = take($c, 16) } while length $data == 16;
	open my $kept, '+<&', $c or die;
	push @kept, $kept;
});
PERL
	    [ '--only=bytes-17,two-bursts' ], [ 'two-bursts', "did not answer " .
	    "any more after a pause: takes a short recv for the end of the " .
	    'message, and leaves the connection open' ] ],
	[ 'decodes in a thread, and leaves the connection open', <<'END', <<'PERL',
kept = []
def echo(connection):
    kept.append(connection.dup())
    while data := connection.recv(2048):
        try:
            connection.sendall(data.decode().encode())
        except UnicodeDecodeError:
            return
    kept.pop().shutdown(socket.SHUT_RDWR)
serve(echo)
END
serve(sub {
	my ($c) = @_;
	while ((my $data = take($c, 2048)) ne '') {
		if (!utf8::decode(my $copy = $data)) {
			open my $kept, '+<&', $c or die;
			push @kept, $kept;
			return;
		}
		syswrite $c, $data;
	}
});
PERL
	    [ '--only=bytes-1,text,every-byte' ], [ 'every-byte', 'did not ' .
	    'answer, not even after a newline, CR LF, a NUL byte and end of ' .
	    'file: decodes the bytes of each recv as UTF-8, and fails at a ' .
	    'byte that is not UTF-8, and leaves the connection open' ] ],
	[ 'does not notice the end of the client', loop(end => 'False'),
	    perl_loop(end => '0'), \@rfc862, [ 'bytes-1', $NOT_CLOSED ] ],
	[ 'waits for 3 s after each client', loop(size => 1024,
	    before => 'not data and time.sleep(3)', end => 'not data'),
	    perl_loop(size => 1024, before => 'sleep 3 if $data eq ""',
	    end => '$data eq ""'), [ '--only=bytes-1', '-t1s' ],
	    [ 'bytes-1', $NOT_CLOSED ] ],
	# The next client connects before the listener is closed, while there is
	# no listener, or when there is a new one.
	[ 'opens a listener for each client', <<'END', <<'PERL', \@rfc862,
listen()
address = listener.getsockname()
while True:
    connection, _ = listener.accept()
    while data := connection.recv(1024):
        connection.sendall(data)
    listener.close()
    connection.close()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(1)
END
start();
my $port = $listener->sockport;
while (my $c = $listener->accept) {
	while ((my $data = take($c, 1024)) ne '') { syswrite $c, $data }
	close $listener;
	close $c;
	$listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
	    LocalPort => $port, Listen => 1, ReuseAddr => 1) or die $@;
}
PERL
	    [ 'one-by-one', 'each client has its echo, but one that waits ' .
	    'while another is served is reset: this happens where the ' .
	    'listener is closed after each client' ] ],
	# The server ends if a client has closed before its answer.
	[ 'collects, and ends if a client has gone', <<'END', <<'PERL',
def echo(connection):
    all = b""
    while True:
        data = connection.recv(32)
        all += data
        if len(data) < 32:
            break
    time.sleep(0.02)
    connection.sendall(all)
    connection.shutdown(socket.SHUT_WR)
serve(echo)
END
serve(sub {
	my ($c) = @_;
	my ($all, $data) = ('');
	do { $all .= $data = take($c, 32) } while length $data == 32;
	Time::HiRes::sleep(0.02);
	syswrite $c, $all;
	shutdown $c, 1 or die;
});
PERL
	    [ '--only=fin-1M,empty,one-by-one,fin-100' ],
	    [ 'fin-1M', 'ended the connection after 1 of 1048576 bytes: ' .
	    'answers one message per connection' ],
	    [ 'one-by-one', 'answered only after a newline: waits for a ' .
	    'recv of fewer than 32 bytes before it answers (connection 31 ' .
	    'of 100)' ] ],
	[ 'has no loop', <<'END', <<'PERL', \@rfc862,
listen()
connection, _ = listener.accept()
while data := connection.recv(1024):
    connection.sendall(data)
END
start();
my $c = $listener->accept;
while ((my $data = take($c, 1024)) ne '') { syswrite $c, $data }
PERL
	    [ 'bytes-1', 'the echo was correct, but the server has accepted ' .
	    'no connection since: it serves one client only' ] ],
	[ 'closes the listener with the client', <<'END', <<'PERL', \@rfc862,
def echo(connection):
    while data := connection.recv(1024):
        connection.sendall(data)
    listener.close()
serve(echo)
END
serve(sub {
	my ($c) = @_;
	while ((my $data = take($c, 1024)) ne '') { syswrite $c, $data }
	close $listener;
});
PERL
	    [ 'bytes-1', 'the echo was correct, but the server has accepted ' .
	    'no connection since: it serves one client only' ] ],
	[ 'ends at an empty connection', <<'END', <<'PERL', \@rfc862,
def echo(connection):
    data = connection.recv(1024)
    assert data
    while data:
        connection.sendall(data)
        data = connection.recv(1024)
serve(echo)
END
serve(sub {
	my ($c) = @_;
	my $data = take($c, 1024);
	die if $data eq '';
	while ($data ne '') { syswrite $c, $data; $data = take($c, 1024) }
});
PERL
	    [ 'no-banner', 'the server has accepted no connection since the ' .
	    'client closed without a message' ] ],
	[ 'answers lines, or 1023 bytes', <<'END', <<'PERL', [ '--only=bytes-1,fin,fin-1M' ],
def echo(connection):
    data = b""
    while byte := connection.recv(1023 - len(data), socket.MSG_PEEK):
        byte = connection.recv(byte.find(b"\n") + 1 or len(byte))
        data += byte
        if data.endswith(b"\n") or len(data) == 1023:
            connection.sendall(data)
            data = b""
serve(echo)
END
serve(sub {
	my ($c) = @_;
	my $data = '';
	while (defined recv $c, my $part, 1023 - length $data, 2) {
		last if $part eq '';
		$data .= take($c, index($part, "\n") + 1 || length $part);
		next if $data !~ /\n\z/ && length $data < 1023;
		syswrite $c, $data;
		$data = '';
	}
});
PERL
	    [ 'bytes-1', 'answered only after a newline: answers only ' .
	    'complete lines' ],
	    [ 'fin', 'ended the connection without an answer' ],
	    [ 'fin-1M', 'ended the connection after 1048575 of 1048576 bytes' ] ],
	[ 'spins after a client without a message', <<'END', <<'PERL', [ '--only=bytes-1,no-banner,text' ],
def echo(connection):
    data = connection.recv(1024)
    while not data:
        time.sleep(1)
    while data:
        connection.sendall(data)
        data = connection.recv(1024)
serve(echo)
END
serve(sub {
	my ($c) = @_;
	my $data = take($c, 1024);
	sleep 1 while $data eq '';
	while ($data ne '') { syswrite $c, $data; $data = take($c, 1024) }
});
PERL
	    [ 'no-banner', 'the server served no other client after one that ' .
	    'had closed without a message' ] ],
	[ 'reads lines, and never closes', <<'END', <<'PERL', [ '--only=line,text,empty' ],
kept = []
def echo(connection):
    kept.append(connection.dup())
    for line in connection.makefile("rb"):
        connection.sendall(line)
serve(echo)
END
serve(sub {
	my ($c) = @_;
	open my $kept, '+<&', $c or die;
	push @kept, $kept;
	while (my $line = <$c>) { syswrite $c, $line }
});
PERL
	    [ 'text', 'answered only after a newline: answers only complete ' .
	    'lines' ],
	    [ 'empty', "did not close after the client's end of file" ] ],
	# The server has not yet served the empty connection and the connection
	# after it.
	[ 'is busy with an earlier client', <<'END', <<'PERL', [ '-t300ms', '--only=bytes-1,two-bursts,empty' ],
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
serve(sub {
	my ($c) = @_;
	my $size = 0;
	while ((my $data = take($c, 65536)) ne '') {
		return sleep 4 if ($size += length $data) > 70;
		syswrite $c, $data;
	}
});
PERL
	    [ 'two-bursts', 'did not answer any more after a pause' ],
	    # The more connections wait, the sooner the queue is full.
	    [ 'empty', qr/^(?:did not close after the client's end of file|cannot connect: timed out while earlier connections waited in the queue of the server \(backlog\)|cannot connect: timed out, although earlier connections had been accepted)$/ ] ],
	[ 'waits for a marker', <<'END', <<'PERL', [ '--only=bytes-1,text' ],
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
serve(sub {
	my ($c) = @_;
	my ($all, $data) = ('');
	while ($all !~ /END\z/) {
		$data = take($c, 1024);
		return if $data eq '';
		$all .= $data;
	}
	syswrite $c, $all;
});
PERL
	    [ 'bytes-1', 'did not answer, not even after a newline, CR LF, a ' .
	    'NUL byte and end of file' ] ],
	[ 'has a short queue, and is slow', <<'END', <<'PERL', [ '--only=50-at-once' ],
backlog = 0
def echo(connection):
    while data := connection.recv(65536):
        time.sleep(0.2)
        connection.sendall(data)
serve(echo)
END
$backlog = 0;
serve(sub {
	my ($c) = @_;
	while ((my $data = take($c, 65536)) ne '') {
		Time::HiRes::sleep(0.2);
		syswrite $c, $data;
	}
});
PERL
	    [ '50-at-once', 'cannot connect: timed out' .
	    (system_has('linux') ? ' while earlier connections waited in the ' .
	    'queue of the server (backlog)' :
	    ', although earlier connections had been accepted') ] ],
	[ 'is correct, behind a proxy that closes at the FIN', <<'END', <<'PERL',
target = socket.create_server(("127.0.0.1", 0))
def echo():
    while True:
        connection, _ = target.accept()
        while data := connection.recv(65536):
            time.sleep(0.02)
            connection.sendall(data)
        connection.close()
import threading
threading.Thread(target=echo, daemon=True).start()
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
my $target = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
    Listen => 128) or die $@;
my $port = $target->sockport;
if (!fork) {
	while (my $c = $target->accept) {
		while ((my $data = take($c, 65536)) ne '') {
			Time::HiRes::sleep(0.02);
			syswrite $c, $data;
		}
	}
}
serve(sub {
	my ($client) = @_;
	my $server = IO::Socket::INET->new("127.0.0.1:$port") or die $@;
	my $both = IO::Select->new($client, $server);
	while (1) {
		for my $ready ($both->can_read) {
			my $data = take($ready, 65536);
			return if $data eq '';
			syswrite $ready == $client ? $server : $client, $data;
		}
	}
});
PERL
	    [ '--only=bytes-4096,fin,empty' ], [ 'fin', 'ended the connection without an ' .
	    'answer: the server, or a proxy in between, drops pending ' .
	    "output at the client's end of file" ] ],
	[ 'one message when nothing waits', loop(
	    end => 'not select.select([connection], [], [], 0)[0]',
	    before => 'if not data: return'),
	    perl_loop(end => '!IO::Select->new($c)->can_read(0)',
	    before => 'return if $data eq ""'),
	    [ '--only=bytes-32,two-bursts' ], [ 'two-bursts', qr/^ended the connection after 70 of 140 bytes(?:: takes the message for complete as soon as no further byte is waiting|: answers one message per connection)?$/ ] ]
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

# Whether a program is installed.
sub has { system("command -v $_[0] >/dev/null 2>&1") == 0 }
my @python = python();

# Whether check says what is expected, and nothing else.
sub is_expected {
	my ($expected, $got) = @_;
	return keys %$got == keys %$expected && !grep {
		my ($message, $test) = ($expected->{$_}, $_);
		ref $message ? ($got->{$test} // '') !~ $message :
		    ($got->{$test} // '') ne $message;
	} keys %$expected;
}

# Asserts the messages of check about a wrong server. On a busy machine an
# answer may arrive after its probe, and check then names no cause. Such a
# result counts only in the last try.
sub report_wrong {
	my ($case, $run) = @{ $_[0] }{qw(case run)};
	my ($expected, $got, $is_last) = ($case->{expected}, messages($run), $_[1]);
	return 0 if !$is_last && !is_expected($expected, $got);
	subtest $case->{name} => sub {
		for my $test (sort keys %$expected) {
			my $message = $expected->{$test};
			ref $message ? like $got->{$test}, $message, $test :
			    is $got->{$test}, $message, $test;
		}
		my @other = grep { !exists $expected->{$_} } sort keys %$got;
		is "@other", '', 'nothing else is said' or
		    diag map { "$_: $got->{$_}\n" } @other;
	} or diag show($run->{out}, 6000);
	return 1;
}

# Asserts that check finds no fault in a correct server.
sub report_right {
	my ($case, $run) = @{ $_[0] }{qw(case run)};
	is_deeply messages($run), {}, $case->{name} or diag $run->{out};
}

my @wrong;
for (@cases) {
	my ($name, $python, $perl, $args, @expected) = @$_;
	my %command = (Perl => [ $^X, '-e', "$perl_prelude$perl" ],
	    @python ? (Python => [ @python, '-c', "$prelude$python" ]) : ());
	for my $language (sort keys %command) {
		my $title = "server in $language that $name";
		push @wrong, { name => $title, args => [ '-t2s', @$args ],
		    start => sub { start_command({ name => $title },
		    @{ $command{$language} }) },
		    expected => { map { @$_ } @expected } };
	}
}
my @late;
run_at_once(sub { report_wrong($_[0]) or push @late, $_[0] }, @wrong)
    unless $ENV{ECHO_RUNS};
run_again(\&report_wrong, @late);

# The parts of the correct servers.
my $tmp = File::Temp->newdir;
sub write_file {
	my ($name, $text) = @_;
	open my $file, '>', "$tmp/$name" or die "$name: $!";
	print $file $text;
	close $file or die "$name: $!";
	return "$tmp/$name";
}

# Builds a server, and returns its path, or undef.
sub build {
	my ($name, $text, @command) = @_;
	my $source = write_file($name, $text);
	return system("@command $tmp/$name.out $source >$tmp/log 2>&1") == 0 ?
	    "$tmp/$name.out" : undef;
}

# Starts a server that cannot choose a free port: in its command and its
# configuration, PORT is replaced.
sub start_at_port {
	my ($name, $configuration, @command) = @_;
	my ($port) = (closed_port())[1] =~ /(\d+)$/;	# freed here
	s/PORT/$port/ for $configuration, @command;
	write_file("$name.conf", $configuration);
	my $server = start_command({ name => $name }, 'sh', '-c',
	    'echo "listening on 127.0.0.1:$1"; shift; exec "$@"', 'sh', $port,
	    @command);
	wait_until(sub { IO::Socket::INET->new("127.0.0.1:$port") });
	return $server;
}

my $in_c = <<'END';
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int
main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);
	int s = socket(AF_INET, SOCK_STREAM, 0), c;
	char data[16];
	ssize_t n;

	if (bind(s, (void *)&a, size) < 0 || listen(s, 128) < 0 ||
	    getsockname(s, (void *)&a, &size) < 0)
		return 1;
	printf("listening on 127.0.0.1:%d\n", ntohs(a.sin_port));
	fflush(stdout);
	while ((c = accept(s, NULL, NULL)) >= 0) {
		while ((n = recv(c, data, sizeof(data), 0)) > 0)
			send(c, data, (size_t)n, MSG_NOSIGNAL);
		close(c);
	}
	return 1;
}
END
my $in_go = <<'END';
package main

import ("fmt"; "io"; "net")

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("listening on", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() { io.Copy(c, c); c.Close() }()
	}
}
END
my $xinetd = <<"END";
service echo
{
	type = UNLISTED
	socket_type = stream
	protocol = tcp
	bind = 127.0.0.1
	port = PORT
	wait = no
	user = @{[ scalar getpwuid $> ]}
	server = /bin/cat
	instances = UNLIMITED
	per_source = UNLIMITED
	cps = 10000 1
}
END

# Returns a function that starts a command, or the reason for a SKIP.
sub if_built {
	my ($program, @how) = @_;
	return "no $program" unless has($program);
	my $path = build(@how) // return "$program cannot build here";
	return sub { start_command({ name => $program }, $path) };
}

sub if_installed {
	my ($program, $configuration, @args) = @_;
	return "no $program" unless has($program);
	return sub { start_at_port($program, $configuration, $program, @args) };
}

# Correct servers: a name, and a function that starts it or the reason for a
# SKIP.
my @right = (
	map({ my $case = $_; [ "server that @$_", sub { start_wrong(@$case) } ] }
	    # One process for each client, and one client at a time.
	    [ 'plain' ], [ 'one-at-a-time' ], [ 'starts-slowly', 0.01 ],
	    [ 'byte-by-byte' ]),
	[ 'slow server in Perl', sub { start_command({ name => 'slow' }, $^X,
	    '-e', $perl_prelude . perl_loop(size => 65536,
	    before => 'return if $data eq ""; Time::HiRes::sleep(0.005)',
	    end => '0')) } ],
	[ 'server in C', if_built('cc', 'echo.c', $in_c, 'cc -o') ],
	[ 'server in Go', if_built('go', 'echo.go', $in_go, 'go build -o') ],
	# Without -t it drops what cat has not sent 0.5 s after the client's end.
	[ 'socat', if_installed('socat', '', '-t10',
	    'TCP-LISTEN:PORT,bind=127.0.0.1,fork,reuseaddr,backlog=128',
	    'EXEC:cat') ],
	[ 'tcpserver', if_installed('tcpserver', '', '-RHl0', '127.0.0.1',
	    'PORT', 'cat') ],
	[ 'xinetd', if_installed('xinetd', $xinetd, '-dontfork', '-pidfile',
	    "$tmp/xinetd.pid", '-f', "$tmp/xinetd.conf") ],
	[ 'node', if_installed('node', '', '-e', 'require("net").createServer(' .
	    '{ allowHalfOpen: true }, c => { c.on("error", () => {}); ' .
	    'c.pipe(c); }).listen(PORT, "127.0.0.1")') ],
	[ 'server in Python', !@python ? 'no python3' : sub {
		start_command({ name => 'Python' }, @python, '-c', $prelude .
		    loop(end => 'not data'));
	} ]
);
my @can_start = grep { ref $_->[1] } @right;
for (grep { !ref $_->[1] } @right) {
	my ($name, $reason) = @$_;
	SKIP: { skip "$name: $reason", 1 }
}
# Single bytes take long for long messages.
my $long = '--skip=bytes-65536,bytes-1M,fin-1M,fin-100';
run_at_once(\&report_right, map {
	{ name => "$_->[0] is correct", start => $_->[1],
	    args => [ '-t10s', $_->[0] =~ /byte-by-byte/ ? $long : () ] };
} (@can_start) x ($ENV{ECHO_RUNS} // 1));

done_testing;
