# The client: it tells every way in which a server can be wrong from every way
# of being right, sends and prints the very bytes it was given, and ends.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Fcntl qw(O_NONBLOCK O_WRONLY);
use File::Temp ();
use IO::Handle ();
use POSIX qw(WEXITSTATUS WIFEXITED mkfifo);
use Socket qw(AF_UNIX PF_UNSPEC SHUT_WR SOCK_STREAM getaddrinfo);
use Test::More;
use Time::HiRes qw(sleep time);
use WrongServers;

my $MiB = 1 << 20;
my $MEMORY = 16 * $MiB;		# most that the client may ever take
my $message = 'A' x 24;
my $identical = 'ADDR returned \d+ bytes?, identical, in \d[\d.]* m?s';

my $tmp = File::Temp->newdir;
my $complaints = '';		# of the servers here, which should have none

sub file {
	my ($name, $bytes) = @_;
	open my $f, '>:raw', "$tmp/$name" or die "$tmp/$name: $!";
	print $f $bytes;
	close $f or die $!;
	return "$tmp/$name";
}

# Runs it against a server, or an address, to its end.
sub sends {
	my ($how, $server, @args) = @_;
	$server = $server->address if ref $server;
	return run_echo({ deadline => $DEADLINE, %$how }, 'send', '-a', $server,
	    @args);
}

# The same while the test goes on: one socket is its stdin and its stdout, so
# that exchange() talks to it as to a server. stdin: a path instead;
# nonblocking: as some shells and node(1) leave theirs.
sub session {
	my ($how, $server, @args) = @_;
	my $self = bless { tmp => File::Temp->newdir }, 'Session';
	socketpair $self->{sock}, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC or
	    die "socketpair: $!";
	$self->{sock}->blocking(0);
	$its->blocking(0) if $how->{nonblocking};
	$self->{pid} = fork // die "fork: $!";
	return $self if $self->{pid};
	alarm 60;	# survives exec, in case the test does not
	$SIG{PIPE} = 'DEFAULT';
	%ENV = (%ENV, %{ $how->{env} // {} });
	open STDIN, defined $how->{stdin} ? '<' : '<&', $how->{stdin} // $its or
	    POSIX::_exit(126);
	open STDOUT, '>&', $its or POSIX::_exit(126);
	open STDERR, '>', "$self->{tmp}/err" or POSIX::_exit(126);
	exec program('echo'), 'send', '-a', $server->address, @args or
	    POSIX::_exit(127);
}

# Takes the rest of its output; its end, as run_echo tells it.
sub Session::end {
	my ($self) = @_;
	my $start = time;
	my ($out, $how) = get_all($self->{sock});
	close $self->{sock};
	kill KILL => $self->{pid} if $how eq 'late';
	waitpid delete $self->{pid}, 0;
	return {
		status => WIFEXITED($?) ? WEXITSTATUS($?) : -1,
		signal => $? & 127, out => $out, time => time - $start,
		err => slurp("$self->{tmp}/err")
	};
}

# Its input ends, then it does.
sub Session::finish {
	my ($self) = @_;
	shutdown $self->{sock}, SHUT_WR;
	return $self->end;
}

# The most memory it has had up to now.
sub Session::peak {
	my ($self) = @_;
	return slurp("/proc/$self->{pid}/status") =~ /^VmHWM:\s+(\d+) kB/m ?
	    1024 * $1 : undef;
}

sub Session::DESTROY {
	my ($self) = @_;
	local ($?, $!);
	return unless $self->{pid};
	kill KILL => $self->{pid};
	waitpid $self->{pid}, 0;
}

# Asserts its status, the one line that it said (a pattern; ADDR stands for
# the server's address; '' for not a word) and what it printed (undef: any).
sub ends {
	my ($r, $status, $server, $said, $out, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $address = quotemeta(ref $server ? $server->address : $server // '');
	$said =~ s/ADDR/$address/;
	$said = "echo send: $said" if $status != 0;
	my $well = $r->{status} == $status &&
	    $r->{err} =~ ($said eq '' ? qr/\A\z/ : qr/\A(?:$said)\n\z/) &&
	    (!defined $out || $r->{out} eq $out);
	ok $well, $name or diag
	    "status $r->{status} (signal $r->{signal}), should be $status\n",
	    'said ', show($r->{err}, 400), "\nshould be /$said/\n",
	    'printed ', show($r->{out}),
	    defined $out ? "\nshould be " . show($out) : '';
	return $well;
}

# The servers in the field that are right, or wrong in a way that only other
# clients can see.
{
	my $server = start_wrong('forgets-at-eof');
	my $sock = dial($server);
	my ($back, $end) = exchange($sock, 'x', undef, half_close => 1);
	is "$back$end", 'eof', 'one server forgets what it owes at end of file';
}
{
	my $server = start_wrong('homework');
	my $sock = dial($server);
	exchange($sock, 'x' x 16, 16);
	my (undef, $end) = exchange($sock, '', 17, deadline => 0.2);
	is $end, 'late', 'and one waits for more after 16 bytes';
}
for my $name (right_servers()) {
	my $server = start_wrong($name);
	for my $size ($name eq 'homework' ? (1, 16, 24, 32, 4096, 4099) :
	    $name =~ /^st/ ? 24 : (24, 4099)) {
		my $bytes = 'x' x $size;
		ends sends({}, $server, $bytes), 0, $server, $identical,
		    "$bytes\n", "server that $name: $size bytes";
	}
	$complaints .= $server->log;
}
{
	my $server = start_wrong('byte-by-byte', 0.07);
	ends sends({}, $server, '-t500ms', 'x' x 12), 0, $server, $identical,
	    'x' x 12 . "\n", 'more than -t in all, but never without progress';
}

# The server that closes when it has answered must not win the race against
# the end of stdin.
{
	my $server = start_wrong('homework');
	my $lost = grep { $_->{status} }
	    map { sends({ in => $message }, $server) } 1 .. 20;
	is $lost, 0, 'stdin of a file to a server that closes first, 20 times';
}

# The wrong ones: [ server, message (\: as stdin), status, what it says, what
# it prints (undef: any), timeout ]. Where it has to time out, the timeout is
# long enough for what the server does answer.
my $pattern = pattern(200_000);
my @wrong = (
	[ 'flip', $message, 1, 'ADDR differs at byte 17: sent 0x41, got 0x42',
	    'A' x 16 . 'B' . 'A' x 7 . "\n" ],
	[ 'flip 1', $message, 1, 'ADDR differs at byte 1: sent 0x41, got 0x42' ],
	[ 'flip 24', $message, 1, 'ADDR differs at byte 24: sent 0x41, got 0x42' ],
	[ 'flip 100001', \$pattern, 1, sprintf
	    'ADDR differs at byte 100001: sent 0x%02x, got 0x%02x',
	    map { $_, $_ ^ 3 } ord substr $pattern, 100_000, 1 ],
	[ 'upper', 'ABC d', 1, 'ADDR differs at byte 5: sent 0x64, got 0x44',
	    "ABC D\n" ],
	[ 'crlf', \"hi\n", 1, 'ADDR differs at byte 3: sent 0x0a, got 0x0d' ],
	[ 'swap', 'abc', 1, 'ADDR differs at byte 1: sent 0x61, got 0x62' ],
	[ 'banner', $message, 1, 'ADDR differs at byte 1: sent 0x41, got 0x32' ],
	[ 'banner', '', 1, 'ADDR .*11 bytes too many.*' ],
	[ 'twice', $message, 1, 'ADDR .*24 bytes too many.*' ],
	[ 'twice', \$message, 1, 'ADDR .*24 bytes too many.*' ],
	[ 'extra', $message, 1, 'ADDR .*1 byte too many.*' ],
	[ 'extra-later', $message, 1, 'ADDR .*1 byte too many.*' ],
	[ 'extra-at-eof', $message, 1, 'ADDR .*1 byte too many.*' ],
	[ 'mute', $message, 5, 'ADDR .*timed out.*0 of 24 bytes', '',
	    '-t300ms' ],
	[ 'never-reads', \('x' x (8 * $MiB)), 5, 'ADDR .*timed out.*', '',
	    '-t300ms' ],
	[ 'answers-at-eof', $message, 5, 'ADDR .*timed out.*0 of 24 bytes', '',
	    '-t300ms' ],
	[ 'half', $message, 5, 'ADDR .*timed out.*12 of 24 bytes',
	    'A' x 12 . "\n", '-t500ms' ],
	[ 'c-string', \"A\0B", 5, 'ADDR .*timed out.*1 of 3 bytes', 'A',
	    '-t500ms' ],
	[ 'strip', \"hi \n", 5, 'ADDR .*timed out.*2 of 4 bytes', 'hi',
	    '-t500ms' ],
	[ 'closes', $message, 6, 'ADDR closed after 12 of 24 bytes',
	    'A' x 12 . "\n" ],
	[ 'closes', \$message, 6, 'ADDR closed after 12 of 24 bytes', 'A' x 12 ],
	[ 'half-closes', $message, 6, 'ADDR closed after 12 of 24 bytes' ],
	[ 'resets', $message, 6, 'ADDR .*after (?:12|0) of 24 bytes.*' ],
	[ 'resets 70000', \$pattern, 6, 'ADDR .*after \d+ of \d+ bytes.*' ],
	[ 'closes-at-once', $message, 6, 'ADDR .*after 0 of 24 bytes.*', '' ],
	[ 'resets-at-once', $message, 6, '.*ADDR.* reset .*', '' ]
);
my %named = map { $_->[0] =~ s/ .*//r => 1 } @wrong;
is_deeply [ grep { !$named{$_} } wrong_servers() ], [],
    'there is a case for every wrong server';

for (@wrong) {
	my ($name, $what, $status, $said, $out, $timeout) = @$_;
	my $server = start_wrong(split / /, $name);
	for my $option ($timeout ? [ $timeout, '-q' ] : ([ '-v' ], [ '-q' ])) {
		my $r = ref $what ?
		    sends({ in => $$what }, $server, @$option) :
		    sends({}, $server, @$option, '--', $what);
		$r->{err} =~ s/\Aconnected to .*\n//;
		ends $r, $status, $server, $said, $out,
		    "server that $name: @$option: status $status";
	}
	$complaints .= $server->log;
}
is $complaints, '', 'the servers here work as they should';

# No server at all.
{
	my $free = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
	    LocalPort => 0, Proto => 'tcp') or die $@;	# no listen: refused
	my $address = '127.0.0.1:' . $free->sockport;
	my $full = full_backlog();
	local $ENV{RES_OPTIONS} = 'timeout:1 attempts:1';
	for my $q ([], [ '-q' ]) {
		ends sends({}, $address, @$q, 'x'), 4, $address,
		    '.*ADDR: Connection refused.*', '', "nobody listens @$q";
		ends sends({}, 'nosuch.invalid', @$q, 'x'), 3, undef,
		    '.*nosuch\.invalid.*', '', "no such name @$q";
		SKIP: {
			skip 'the backlog cannot be filled here', 1 if !$full;
			my $r = sends({}, $full->{address}, '-t300ms', @$q, 'x');
			ends $r, 5, $full->{address}, '.*ADDR.*timed out.*', '',
			    "nobody takes the connection @$q";
			cmp_ok $r->{time}, '<', 3, 'and it does not wait long';
		}
	}
	my $r = run_echo({ program => 'echo_client' }, '-a', $address, 'x');
	like $r->{err}, qr/\Aecho_client: .*\Q$address\E: .*\n\z/,
	    'a link says its own name';

	# The port may be the one that the system gives to the client itself,
	# which then is connected to itself and gets all of it back.
	my @alone = ('unshare', '-rn', 'sh', '-c', 'ip link set lo up && ' .
	    'echo 40001 40001 >/proc/sys/net/ipv4/ip_local_port_range && ' .
	    'exec "$@"', 'sh');
	SKIP: {
		skip 'no network of our own here', 1
		    if run_echo({ command => $alone[0] },
			@alone[1 .. $#alone], 'true')->{status};
		ends sends({ wrap => \@alone }, '127.0.0.1:40001', 'x'), 4,
		    '127.0.0.1:40001', '.*ADDR: Connection refused.*', '',
		    'connected to itself: nobody listens';
	}
}

# Local trouble: [ name, how, what it says ], each with words and with stdin.
{
	my $server = start_server('--select', '-q');
	my $gone = sub {
		pipe my $reader, my $writer or die $!;
		return $writer;
	};
	my $sh = sub { [ 'sh', '-c', "exec \"\$@\" $_[0]", 'sh' ] };
	my $stdout = '.*standard output: \w.*';
	my $stdin = '.*standard input: \w.*';
	my @local = (
		[ 'stdout is full', { out => '/dev/full' }, $stdout ],
		[ 'stdout is closed', { wrap => $sh->('>&-') }, $stdout ],
		[ 'stdout is read-only', { wrap => $sh->('1</dev/null') },
		    $stdout ],
		[ 'the reader of stdout is gone', { out => $gone->() }, $stdout ]
	);
	for (@local) {
		my ($name, $how, $said) = @$_;
		for my $q ([], [ '-q' ]) {
			ends sends($how, $server, @$q, 'x'), 7, undef, $said, '',
			    "$name: words @$q";
			ends sends({ %$how, in => $pattern }, $server, @$q), 7,
			    undef, $said, '', "$name: stdin @$q";
		}
	}
	ends sends({ wrap => $sh->('<&-') }, $server), 7, undef, $stdin, '',
	    'stdin is closed';
	ends sends({ stdin => '/' }, $server), 7, undef, $stdin, '',
	    'stdin is a folder';

	# Descriptor 0 or 2 is the connection then: no matter.
	ends sends({ wrap => $sh->('<&-') }, $server, 'x'), 0, $server,
	    $identical, "x\n", 'stdin is closed, but there are words';
	ends sends({ wrap => $sh->('2>&-') }, $server, 'x'), 0, undef, '', "x\n",
	    'stderr is closed: nothing said goes to the server';
	ends sends({ wrap => $sh->('2>&-'), in => $message }, $server), 0, undef,
	    '', $message, 'stderr is closed, with stdin';

	# No descriptor left. The loader needs some, to load the libraries; so
	# the limit falls when it has, and waits for a pipe instead of one more.
	my $fifo = "$tmp/fifo";
	mkfifo $fifo, 0600 or die "mkfifo: $!";
	SKIP: {
		skip 'a sanitizer wants to be loaded first', 1 if sanitized();
		my $client = session({ env => {
			LD_PRELOAD => "libc.so.6 $fifo"
		} }, $server, 'x');
		my $until = time + 2;
		my $held;
		sleep 0.005 until sysopen($held, $fifo, O_WRONLY | O_NONBLOCK) ||
		    time > $until;
		skip 'the loader loads nothing more', 1 if time > $until;
		skip 'no prlimit(1)', 1 if system 'prlimit', '--nofile=3:3',
		    "--pid=$client->{pid}";
		close $held;
		my $r = $client->end;
		$r->{err} =~ s/^.*ld\.so.*\n//;
		ends $r, 7, $server, '.*ADDR.*: Too many open files.*', '',
		    'no descriptor left';
	}
	$server->stop;
}

# What is sent is what was given: [ arguments, output ].
my $utf8 = "Gr\xc3\xbc\xc3\x9fe \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x91\x8b";
my $long = join ' ', 'x' x 50, 0 .. 20_000;	# some 100 KB, in one argument
my @words = (
	[ [ 'a' ], "a\n" ],
	[ [ 'This', 'is', ' a  test.' ], "This is  a  test.\n" ],
	[ [ '-n', 'a', 'b' ], 'a b' ],
	[ [ '--no-newline', 'a' ], 'a' ],
	[ [ '--', 'a' ], "a\n" ],
	[ [ '--', '-n', '--help', '-x' ], "-n --help -x\n" ],
	[ [ '-n', '--', '--' ], '--' ],
	[ [ '' ], "\n" ],
	[ [ '-n', '' ], '' ],
	[ [ '', '', '' ], "  \n" ],
	[ [ "a\nb\r\n" ], "a\nb\r\n\n" ],
	[ [ '\n\x41%s%n' ], "\\n\\x41%s%n\n" ],
	[ [ $utf8 ], "$utf8\n" ],
	[ [ "\xff\xfe\x80" ], "\xff\xfe\x80\n" ],
	[ [ $long ], "$long\n" ]
);
my $binary = join '', map { chr } (0 .. 255) x 3;
my @inputs = ("a\n", 'no newline', "\n", '', "\0", "a\0b", $binary, $utf8,
    'x' x 16, 'x' x 4096, $pattern);

for my $engine (engines()) {
	my $server = start_server($engine, '-q');
	for (@words) {
		my ($args, $out) = @$_;
		my $name = show("@$args", 30);
		my $r = sends({}, $server, @$args);
		ends $r, 0, $server, $identical, $out, "$engine: words $name";
		my $n = length($out) - !grep { /^-n|^--no/ } @$args[0];
		like $r->{err}, qr/ returned $n byte@{[ 's' x ($n != 1) ]}, /,
		    'and the number of bytes';
	}
	for my $in (@inputs) {
		for my $dash ([], [ '-' ], [ '-n', '--' ]) {
			ends sends({ in => $in }, $server, @$dash), 0,
			    $server, $identical, $in,
			    "$engine: @$dash stdin " . show($in, 30);
		}
	}
	$server->stop;
}

# What it says.
{
	my $server = start_server('--select', '-q');
	my $address = $server->address;
	ends sends({}, $server, $message), 0, $server,
	    'ADDR returned 24 bytes, identical, in \d[\d.]* m?s', "$message\n",
	    'the success line';
	ends sends({}, $server, '-q', $message), 0, $server, '', "$message\n",
	    '-q: not a word';
	ends sends({}, $server, '--quiet', 'x'), 0, $server, '', "x\n", '--quiet';
	for my $v ('-v', '--verbose') {
		my $r = sends({}, $server, $v, $message);
		like $r->{err}, qr/\A(?:.*\Q$address\E.*\n)+
		    \Q$address\E\ returned\ 24\ bytes,\ identical,\ in\ .*\n\z/x,
		    "$v: more than the success line";
		is $r->{out}, "$message\n", 'which is not for stdout';
	}
	my $port = $server->port;
	ends run_echo({ program => 'echo_client' }, '-p', $port, 'x'), 0, $server,
	    $identical, "x\n", 'as echo_client, to the default address';
	SKIP: {
		my ($error) = getaddrinfo('localhost', $port);
		skip "localhost: $error", 1 if $error;
		ends sends({}, "localhost:$port", 'x'), 0, $server, $identical,
		    "x\n", 'localhost, though it may be ::1 first';
	}
	$server->stop;
}

# How long it takes: at best, since the machine may be busy.
sub quick {
	my ($server, $limit, $name) = @_;
	my @times;
	do {
		push @times, sends({}, $server, 'x')->{time};
	} while ($times[-1] >= $limit && @times < 5);
	cmp_ok $times[-1], '<', $limit, $name;
}
for my $engine (engines()) {
	my $server = start_server($engine, '-q');
	quick($server, 0.4, "$engine: soon over");
	$server->stop;
}
quick(start_wrong('stays-open'), 1, 'also with a server that never closes');

# Standard input that goes on.
{
	my $server = start_server('--select', '-q');
	my $client = session({}, $server, '-t', '500ms');
	my ($got, $sent) = ('', '');
	for my $line ("first\n", "second\n", 'x' x 1000 . "\n") {
		$got .= exchange($client->{sock}, $line, length $line);
		$sent .= $line;
		is $got, $sent, 'the reply is there before stdin ends';
	}
	sleep 1;
	$got = exchange($client->{sock}, 'more', 4);
	is $got, 'more', 'a pause of stdin beyond -t is not the server\'s';
	ends $client->finish, 0, $server, $identical, '', 'then it ends well';

	my $mute = start_wrong('mute');
	$client = session({}, $mute, '-t', '500ms');
	my $until = time + 5;
	1 while time < $until && put($client->{sock}, 'x') &&
	    !IO::Select->new($client->{sock})->can_read(0.1);
	cmp_ok time, '<', $until, 'a stdin that trickles buys a mute server ' .
	    'no time';
	ends $client->finish, 5, $mute, 'ADDR .*timed out.*', '', 'beyond -t';

	$client = session({}, $server);
	for my $piece (map { chr(65 + $_) x $_ } 1 .. 15) {
		put($client->{sock}, $piece);
		sleep 0.02;
	}
	my $r = $client->finish;
	ends $r, 0, $server, $identical,
	    join('', map { chr(65 + $_) x $_ } 1 .. 15), 'a slow writer of stdin';
	$server->stop;
}

# The server ends although stdin does not.
for my $option ('-v', '-q') {
	my $server = start_wrong('closes', 24);
	my $client = session({}, $server, $option);
	is exchange($client->{sock}, $message, 24), $message,
	    "$option: all of it comes back";
	my $r = $client->end;
	$r->{err} =~ s/\Aconnected .*\n//;
	ends $r, 6, $server, 'ADDR .*closed.*24.*', '',
	    'then the server closes: too early';
	cmp_ok $r->{time}, '<', 2, 'and it does not wait for stdin';
}

# Any size, in a flat memory, both directions at once.
my $block = random_bytes($MiB - 4);
my $big = join '', map { pack('N', $_) . $block } 1 .. 64;
my $path = file('big', substr $big, 0, 16 * $MiB);

sub flat {
	my ($client, $name) = @_;
	SKIP: {
		skip 'a sanitizer takes what memory it likes', 1 if sanitized();
		my $peak = $client->peak;
		cmp_ok $peak, '<', $MEMORY, "$name: flat memory";
	}
}

for my $engine (engines()) {
	my $server = start_server($engine, '--stream', '--chunk=64k', '-q');
	my $client = session({}, $server);
	my $back = exchange($client->{sock}, $big, length $big, deadline => 60);
	ok $back eq $big, "$engine: 64 MiB come back" or
	    diag 'but ', length $back, ' bytes, as far as they came: ',
	    $back eq substr $big, 0, length $back;
	flat($client, "$engine: 64 MiB");
	ends $client->finish, 0, $server, 'ADDR returned 67108864 bytes, .*', '',
	    "$engine: and nothing else";
	$server->stop;
}

{
	my $server = start_server('--select', '-q');
	my $client = session({ nonblocking => 1 }, $server);
	my $bytes = substr $big, 0, 4 * $MiB;
	sleep 0.1;	# so that it finds stdin empty
	put($client->{sock}, substr $bytes, 0, $MiB / 8);
	my $back = get($client->{sock}, 1);
	sleep 0.1;	# and stdout full
	$back .= exchange($client->{sock}, substr($bytes, $MiB / 8),
	    length($bytes) - length $back);
	ok $back eq $bytes, 'stdin and stdout that do not block';
	ends $client->finish, 0, $server, $identical, '', 'and it ends well';
	$server->stop;
}

# Nothing is taken from it, for longer than -t: no fault of the server.
{
	my $server = start_server('--select', '-q');
	my $client = session({ stdin => $path }, $server, '-t', '500ms');
	sleep 0.8;
	flat($client, 'nobody reads');
	my $r = $client->end;
	ok $r->{out} eq slurp($path), 'a slow reader of stdout gets it all' or
	    diag length $r->{out}, ' bytes';
	ends $r, 0, $server, $identical, undef, 'and it ends well';
	$server->stop;
}

# A server that reads nothing while it writes must not make it stand still.
{
	my $server = start_wrong('plain');
	my $out = "$tmp/out";
	my $r = sends({ stdin => $path, out => $out }, $server);
	ends $r, 0, $server, $identical, undef, '16 MiB from a file to a file';
	ok slurp($out) eq slurp($path), 'which are the same';
}

done_testing;
