# Mode send: the bytes that it sends and prints, its judgement of each correct
# and wrong server, its exit status and its messages.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Fcntl qw(O_NONBLOCK O_WRONLY);
use File::Temp ();
use IO::Handle ();
use IO::Select ();
use POSIX qw(WEXITSTATUS WIFEXITED mkfifo);
use Socket qw(AF_UNIX PF_UNSPEC SHUT_WR SOCK_STREAM getaddrinfo);
use Storable qw(retrieve store);
use Test::More;
use Time::HiRes qw(sleep time);
use WrongServers;

my $MiB = 1 << 20;
my $MEMORY = 16 * $MiB;		# bytes that the client may use at most
my $AT_ONCE = 16;		# cases at the same time
my $message = 'A' x 24;
my $identical = 'ADDR returned \d+ bytes?, identical, in \d[\d.]* m?s';

my $tmp = File::Temp->newdir;
my $server_errors = '';		# stderr of the servers of WrongServers.pm

sub file {
	my ($name, $bytes) = @_;
	open my $f, '>:raw', "$tmp/$name" or die "$tmp/$name: $!";
	print $f $bytes;
	close $f or die $!;
	return "$tmp/$name";
}

# Runs the client against a server or an address.
sub sends {
	my ($how, $server, @args) = @_;
	$server = $server->address if ref $server;
	return run_echo({ deadline => $DEADLINE, %$how }, 'send', '-a', $server,
	    @args);
}

# Runs the client while the test goes on. One socket is its stdin and stdout, so
# that exchange() communicates with it as with a server. Options: stdin (a path),
# nonblocking (descriptors as some shells and node(1) leave them), env.
sub session {
	my ($how, $server, @args) = @_;
	my $self = bless { tmp => File::Temp->newdir }, 'Session';
	socketpair $self->{sock}, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC or
	    die "socketpair: $!";
	$self->{sock}->blocking(0);
	$its->blocking(0) if $how->{nonblocking};
	$self->{pid} = fork // die "fork: $!";
	return $self if $self->{pid};
	alarm 4 * $DEADLINE;	# survives exec
	$SIG{PIPE} = 'DEFAULT';
	%ENV = (%ENV, %{ $how->{env} // {} });
	open STDIN, defined $how->{stdin} ? '<' : '<&', $how->{stdin} // $its or
	    POSIX::_exit(126);
	open STDOUT, '>&', $its or POSIX::_exit(126);
	open STDERR, '>', "$self->{tmp}/err" or POSIX::_exit(126);
	exec program('echo'), 'send', '-a', $server->address, @args or
	    POSIX::_exit(127);
}

# Reads the rest of the output and waits for the end of the client. Returns what
# run_echo() returns.
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

# Ends the input of the client, and then as Session::end().
sub Session::finish {
	my ($self) = @_;
	shutdown $self->{sock}, SHUT_WR;
	return $self->end;
}

# The largest amount of memory that the client has used, in bytes.
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

# Asserts the exit status, the one line on stderr (a pattern in which ADDR is the
# address of the server; '' for no output) and stdout (undef: any).
sub ends {
	my ($r, $status, $server, $line, $out, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $address = quotemeta(ref $server ? $server->address : $server // '');
	$line =~ s/ADDR/$address/;
	$line = "echo send: $line" if $status != 0;
	my $correct = $r->{status} == $status &&
	    $r->{err} =~ ($line eq '' ? qr/\A\z/ : qr/\A(?:$line)\n\z/) &&
	    (!defined $out || $r->{out} eq $out);
	return ok($correct, $name) || diag
	    "exit status: $r->{status} (signal $r->{signal})\n",
	    "   expected: $status\n",
	    'stderr: ', show($r->{err}, 400), "\nexpected: /$line/\n",
	    'stdout: ', show($r->{out}),
	    defined $out ? "\nexpected: " . show($out) : '';
}

# Calls functions in child processes, several at the same time because most of
# their time is waiting. Returns the references that they return, in order.
sub at_the_same_time {
	my @work = @_;
	my (@running, @results);
	for my $i (0 .. $#work) {
		push @results, collect(shift @running) if @running >= $AT_ONCE;
		my $path = "$tmp/result-$i";
		push @running, [$path,
		    spawn(sub { store($work[$i]->(), $path) or die $! })];
	}
	return @results, map { collect($_) } @running;
}

sub collect {
	my ($path, $pid) = @{ $_[0] };
	waitpid $pid, 0;
	die "a child process: wait status $?" if $? != 0;
	return retrieve($path);
}

subtest 'two of the right servers are as difficult as they should be' => sub {
	my $sock = dial(my $server = start_wrong('forgets-at-eof'));
	my ($back, $end) = exchange($sock, 'x', undef, half_close => 1);
	is "$back$end", 'eof', 'forgets-at-eof: no reply after a half-close';
	$sock = dial($server = start_wrong('homework'));
	exchange($sock, 'x' x 16, 16);
	(undef, $end) = exchange($sock, '', 17, deadline => 0.2);
	is $end, 'late', 'homework: waits for more after 16 bytes';
};

for my $name (right_servers()) {
	subtest "right server: $name" => sub {
		my $server = start_wrong($name);
		for my $size ($name eq 'homework' ?
		    (1, 16, 24, 32, 4096, 4099) :
		    $name =~ /^st/ ? 24 : (24, 4099)) {
			my $bytes = 'x' x $size;
			ends sends({}, $server, $bytes), 0, $server, $identical,
			    "$bytes\n", "$size bytes";
		}
		$server_errors .= $server->log;
	};
}

# Such a server may close the connection before the client has read end of file
# from stdin.
subtest 'a server that closes the connection after its reply' => sub {
	my $server = start_wrong('homework');
	my @failed = grep { $_->{status} }
	    map { sends({ in => $message }, $server) } 1 .. 20;
	is scalar(@failed), 0, 'stdin from a file, 20 times';
	SKIP: {
		my @shim = (wrap => shimmed('late-input'));
		skip 'nothing can be preloaded', 1 if run_echo({
			wrap => shimmed('fail=1') }, 'send', '-p1', 'x')->{err}
		    !~ /^shim: /m;
		$server = start_wrong('closes', length $message);
		ends sends({ in => $message, @shim }, $server), 0, $server,
		    $identical, $message,
		    'the end of stdin arrives after that of the server';
	}
};

my $path = file('big', random_bytes(16 * $MiB));

sub uses_little_memory {
	my ($client, $name) = @_;
	SKIP: {
		skip 'a sanitizer needs more memory', 1 if sanitized();
		cmp_ok $client->peak, '<', $MEMORY, $name;
	}
}

# Two clients with pauses that are longer than the timeout, which leaves the
# server time on a busy machine. They pause while the wrong servers are tested.
my $paused_at = time;
my $echo_server = start_server('--select', '-q');
my $slow_reader = session({ stdin => $path }, $echo_server, '-t', '1500ms');
my $slow_writer = session({}, $echo_server, '-t', '1500ms');
is exchange($slow_writer->{sock}, 'one', 3), 'one',
    'a reply before the pause of stdin';

# Wrong servers: [ server, message (a reference: stdin), exit status, line on
# stderr, stdout (undef: any), timeout ]. A server that sends a part of the reply
# has time for it on a busy machine.
my $pattern = pattern(200_000);
my @wrong = (
	[ 'flip', $message, 1, 'ADDR differs at byte 17: sent 0x41, got 0x42',
	    'A' x 16 . 'B' . 'A' x 7 . "\n" ],
	[ 'flip 1', $message, 1, 'ADDR differs at byte 1: sent 0x41, got 0x42' ],
	[ 'flip 24', $message, 1,
	    'ADDR differs at byte 24: sent 0x41, got 0x42' ],
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
	    'A' x 12 . "\n", '-t2s' ],
	[ 'c-string', \"A\0B", 5, 'ADDR .*timed out.*1 of 3 bytes', 'A',
	    '-t2s' ],
	[ 'strip', \"hi \n", 5, 'ADDR .*timed out.*2 of 4 bytes', 'hi',
	    '-t2s' ],
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
    'every wrong server has a case';

# The result of one case: a run for each list of options, the address, the log.
# On a busy machine, surplus bytes may arrive after the time for which send
# waits.
sub test_wrong {
	my ($name, $what, $status, undef, undef, $timeout) = @_;
	my $server = start_wrong(split / /, $name);
	my @options = $timeout ? ([ $timeout, '-q' ]) : ([ '-v' ], [ '-q' ]);
	my @runs = map {
		my @send = ref $what ? ({ in => $$what }, $server, @$_) :
		    ({}, $server, @$_, '--', $what);
		measure_again(sub { sends(@send) },
		    sub { $_[0]{status} == $status });
	} @options;
	return { address => $server->address, log => $server->log,
	    runs => \@runs, options => \@options };
}

# A reply that takes longer than the timeout, but makes progress.
my $slow = [ 'byte-by-byte 0.3', 'x' x 9, 0, $identical, 'x' x 9 . "\n",
    '-t2s' ];
my @cases = ($slow, sort { !defined $a->[5] <=> !defined $b->[5] } @wrong);
my @results = at_the_same_time(map { my $case = $_; sub { test_wrong(@$case) } }
    @cases);
for my $i (0 .. $#cases) {
	my ($name, undef, $status, $line, $out) = @{ $cases[$i] };
	my $result = $results[$i];
	$line = '' if $status == 0;	# -q
	for my $j (0 .. $#{ $result->{runs} }) {
		my $r = $result->{runs}[$j];
		$r->{err} =~ s/\Aconnected to .*\n//;
		ends $r, $status, $result->{address}, $line, $out,
		    "server $name, @{ $result->{options}[$j] }: " .
		    "exit status $status";
	}
	$server_errors .= $result->{log};
}
is $server_errors, '', 'the servers of WrongServers.pm printed no error';

# t/82-faulty.t has a short message and each fault.
subtest 'a fault far behind, while stdin is sent' => sub {
	my $size = 1 << 20;
	for (['corrupt=700000', 1, qr/ differs at byte 700001: /],
	    ['drop=700000', 1, qr/ differs at byte 700001: /],
	    ["double=@{[$size - 1]}", 1, qr/ sent 1 byte too many after $size$/m],
	    ['close=700000', 6, qr/ closed after 700000 of \d+ bytes/],
	    ['reset=700000', 6, qr/ failed after 700000 of \d+ bytes: /]) {
		my ($fault, $status, $says) = @$_;
		my $server = start_command({ name => "faulty $fault" },
		    program(), qw(faulty -q --port=0), $fault);
		my $run = run_echo({ in => pattern($size) }, 'send', '-a',
		    $server->address);
		is $run->{status}, $status, "$fault: exit status";
		like $run->{err}, $says, "$fault: message";
		$server->stop;
	}
};

subtest 'pauses of stdin and stdout longer than --timeout' => sub {
	sleep 0.1 until time - $paused_at > 2;
	is exchange($slow_writer->{sock}, 'two', 3), 'two',
	    'stdin: a reply after the pause';
	ends $slow_writer->finish, 0, $echo_server, $identical, '',
	    'stdin: the end';
	uses_little_memory($slow_reader, 'stdout: bytes of memory');
	my $r = $slow_reader->end;
	is_bytes($r->{out}, slurp($path), 'stdout: all bytes after the pause');
	ends $r, 0, $echo_server, $identical, undef, 'stdout: the end';
	$echo_server->stop;
};

subtest 'no connection' => sub {
	my $free = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
	    LocalPort => 0, Proto => 'tcp') or die $@;	# does not listen
	my $address = '127.0.0.1:' . $free->sockport;
	my $full = full_backlog();
	local $ENV{RES_OPTIONS} = 'timeout:1 attempts:1';
	for my $q ([], [ '-q' ]) {
		ends sends({}, $address, @$q, 'x'), 4, $address,
		    'cannot connect to ADDR: Connection refused \(is a server ' .
		    'running there\? echo_server is one\)', '',
		    "a closed port @$q";
		ends sends({}, 'nosuch.invalid', @$q, 'x'), 3, undef,
		    'cannot resolve "nosuch\.invalid": .*', '',
		    "an unknown name @$q";
		SKIP: {
			skip 'the backlog cannot be filled', 2 if !$full;
			my $r = sends({}, $full->{address}, '-t300ms', @$q, 'x');
			ends $r, 5, $full->{address},
			    'cannot connect to ADDR: .*timed out.*', '',
			    "a full backlog @$q";
			is_between($r->{time}, 0.3, $DEADLINE / 2,
			    'time with -t300ms');
		}
	}
	my $r = run_echo({ program => 'echo_client' }, '-a', $address, 'x');
	like $r->{err}, qr/\Aecho_client: .*\Q$address\E: .*\n\z/,
	    'a link names itself';

	# The system may give the client the port that it connects to. Then the
	# client is connected to itself, and everything comes back.
	my @alone = ('unshare', '-rn', 'sh', '-c', 'ip link set lo up && ' .
	    'echo 40001 40001 >/proc/sys/net/ipv4/ip_local_port_range && ' .
	    'exec "$@"', 'sh');
	SKIP: {
		skip 'no permission for a network of its own', 1
		    if run_echo({ command => $alone[0] },
			@alone[1 .. $#alone], 'true')->{status};
		ends sends({ wrap => \@alone }, '127.0.0.1:40001', 'x'), 4,
		    '127.0.0.1:40001', '.*ADDR: Connection refused.*', '',
		    'a client that is connected to itself';
	}
};

subtest 'local failures' => sub {
	my $server = start_server('--select', '-q');
	my $gone = sub {
		pipe my $reader, my $writer or die $!;
		return $writer;
	};
	my $sh = sub { [ 'sh', '-c', "$_[0]; exec \"\$@\"", 'sh' ] };
	my $stdout = '.*standard output: \w.*';
	my $stdin = '.*standard input: \w.*';
	my @local = (
		[ 'stdout on a full disk', { out => '/dev/full' } ],
		[ 'stdout closed', { wrap => $sh->('exec >&-') } ],
		[ 'stdout read-only', { wrap => $sh->('exec 1</dev/null') } ],
		[ 'stdout without a reader', { out => $gone->() } ],
		[ 'stdout beyond the limit of a file\'s size',
		    { out => "$tmp/limited", wrap => $sh->('ulimit -f 1') } ]
	);
	my $words = 'x' x 2000;		# more than the limit
	for (@local) {
		my ($name, $how) = @$_;
		for my $q ([], [ '-q' ]) {
			ends sends($how, $server, @$q, $words), 7, undef,
			    $stdout, '', "$name, message @$q";
			ends sends({ %$how, in => $pattern }, $server, @$q), 7,
			    undef, $stdout, '', "$name, stdin @$q";
		}
	}
	ends sends({ wrap => $sh->('exec <&-') }, $server), 7, undef, $stdin, '',
	    'stdin closed';
	ends sends({ stdin => '/' }, $server), 7, undef, $stdin, '',
	    'stdin is a folder';

	# The connection does not become descriptor 0 or 2.
	ends sends({ wrap => $sh->('exec <&-') }, $server, 'x'), 0, $server,
	    $identical, "x\n", 'stdin closed, with a message';
	ends sends({ wrap => $sh->('exec 2>&-') }, $server, 'x'), 0, undef, '',
	    "x\n", 'stderr closed: no log line goes to the server';
	ends sends({ wrap => $sh->('exec 2>&-'), in => $message }, $server), 0,
	    undef, '', $message, 'stderr closed, with stdin';

	# The dynamic loader needs descriptors, so the limit is set after it has
	# opened the last library. This library is a FIFO, on which it waits.
	my $fifo = "$tmp/fifo";
	mkfifo $fifo, 0600 or die "mkfifo: $!";
	SKIP: {
		skip 'the runtime of a sanitizer must be first', 1
		    if sanitized();
		my $client = session({ env => {
			LD_PRELOAD => "libc.so.6 $fifo"
		} }, $server, 'x');
		my $until = time + 5;
		my $held;
		sleep 0.005 until sysopen($held, $fifo, O_WRONLY | O_NONBLOCK) ||
		    time > $until;
		skip 'the loader opens no FIFO', 1 unless $held;
		skip 'no prlimit(1)', 1 if system 'prlimit', '--nofile=3:3',
		    "--pid=$client->{pid}";
		close $held;
		my $r = $client->end;
		$r->{err} =~ s/^.*ld\.so.*\n//;
		ends $r, 7, $server, '.*ADDR.*: Too many open files.*', '',
		    'no free descriptor';
	}
	$server->stop;
};

# send sends exactly the given message: [ arguments, stdout ].
my $utf8 = "Gr\xc3\xbc\xc3\x9fe \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x91\x8b";
my $long = join ' ', 'x' x 50, 0 .. 20_000;	# 100 KB in one argument
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

for my $engine (engines_but('--uring')) {
	subtest "messages and stdin, $engine" => sub {
		my $server = start_server($engine, '-q');
		for (@words) {
			my ($args, $out) = @$_;
			my $n = length($out) - !grep { /^-n|^--no/ } @$args[0];
			my $bytes = $n == 1 ? '1 byte' : "$n bytes";
			ends sends({}, $server, @$args), 0, $server,
			    "ADDR returned $bytes, identical, in .*", $out,
			    'message ' . show("@$args", 30);
		}
		for my $in (@inputs) {
			ends sends({ in => $in }, $server, @$_), 0, $server,
			    $identical, $in, "@$_ stdin " . show($in, 30)
			    for [], [ '-' ], [ '-n', '--' ];
		}
		$server->stop;
	};
}

subtest 'the lines on stderr' => sub {
	my $server = start_server('--select', '-q');
	my $address = $server->address;
	ends sends({}, $server, $message), 0, $server,
	    'ADDR returned 24 bytes, identical, in \d[\d.]* m?s', "$message\n",
	    'success';
	ends sends({}, $server, '-q', $message), 0, $server, '', "$message\n",
	    '-q: no line';
	ends sends({}, $server, '--quiet', 'x'), 0, $server, '', "x\n",
	    '--quiet: no line';
	for my $v ('-v', '--verbose') {
		my $r = sends({}, $server, $v, $message);
		like $r->{err}, qr/\A(?:.*\Q$address\E.*\n)+
		    \Q$address\E\ returned\ 24\ bytes,\ identical,\ in\ .*\n\z/x,
		    "$v: more lines";
		is $r->{out}, "$message\n", "$v: no other stdout";
	}
	my $port = $server->port;
	ends run_echo({ program => 'echo_client' }, '-p', $port, 'x'), 0, $server,
	    $identical, "x\n", 'echo_client, with the default host';
	SKIP: {
		my ($error) = getaddrinfo('localhost', $port);
		skip "localhost: $error", 1 if $error;
		ends sends({}, "localhost:$port", 'x'), 0, $server, $identical,
		    "x\n", 'localhost, which may have ::1 as its first address';
	}
	$server->stop;
};

subtest 'the client ends soon after the reply' => sub {
	for my $engine (engines_but('--uring')) {
		my $server = start_server($engine, '-q');
		at_most(0.4, sub { sends({}, $server, 'x')->{time} },
		    "$engine, seconds");
		$server->stop;
	}
	my $server = start_wrong('stays-open');
	at_most(1, sub { sends({}, $server, 'x')->{time} },
	    'a server that never closes, seconds');
};

subtest 'stdin without an end' => sub {
	my $server = start_server('--select', '-q');
	my $client = session({}, $server);
	my ($got, $sent) = ('', '');
	for my $line ("first\n", "second\n", 'x' x 1000 . "\n") {
		$got .= exchange($client->{sock}, $line, length $line);
		$sent .= $line;
		is $got, $sent, 'each line comes back before stdin ends';
	}
	ends $client->finish, 0, $server, $identical, '', 'the end';

	my $mute = start_wrong('mute');
	$client = session({}, $mute, '-t', '500ms');
	my $until = time + $DEADLINE / 2;
	1 while time < $until && put($client->{sock}, 'x') &&
	    !IO::Select->new($client->{sock})->can_read(0.1);
	cmp_ok time, '<', $until,
	    'input that trickles in does not extend the timeout';
	ends $client->finish, 5, $mute, 'ADDR .*timed out.*', '', 'timed out';

	$client = session({}, $server);
	for my $piece (map { chr(65 + $_) x $_ } 1 .. 15) {
		put($client->{sock}, $piece);
		sleep 0.02;
	}
	my $r = $client->finish;
	ends $r, 0, $server, $identical,
	    join('', map { chr(65 + $_) x $_ } 1 .. 15), 'a slow writer';
	$server->stop;
};

subtest 'the server closes while stdin is open' => sub {
	for my $option ('-v', '-q') {
		my $server = start_wrong('closes', 24);
		my $client = session({}, $server, $option);
		is exchange($client->{sock}, $message, 24), $message,
		    "$option: all bytes come back";
		my $r = $client->end;	# without the end of stdin
		$r->{err} =~ s/\Aconnected .*\n//;
		ends $r, 6, $server, 'ADDR closed after 24 of 24 bytes, before ' .
		    'the end of standard input .*', '',
		    "$option: the client ends at once, with a failure";
	}
};

# Any size, in a constant amount of memory, in both directions at once.
my $block = random_bytes($MiB - 4);
my $big = join '', map { pack('N', $_) . $block } 1 .. 64;
for my $engine (engines_but('--uring')) {
	subtest "64 MiB, $engine" => sub {
		my $server = start_server($engine, '--stream', '--chunk=64k',
		    '-q');
		my $client = session({}, $server);
		my $back = exchange($client->{sock}, $big, length $big,
		    deadline => 4 * $DEADLINE);
		is_bytes($back, $big, 'all bytes come back');
		uses_little_memory($client, 'bytes of memory');
		ends $client->finish, 0, $server,
		    'ADDR returned 67108864 bytes, .*', '', 'and no others';
		$server->stop;
	};
}

subtest 'non-blocking stdin and stdout' => sub {
	my $server = start_server('--select', '-q');
	my $client = session({ nonblocking => 1 }, $server);
	my $bytes = substr $big, 0, 4 * $MiB;
	sleep 0.1;	# the client finds stdin empty
	put($client->{sock}, substr $bytes, 0, $MiB / 8);
	my $back = get($client->{sock}, 1);
	sleep 0.1;	# and stdout full
	$back .= exchange($client->{sock}, substr($bytes, $MiB / 8),
	    length($bytes) - length $back);
	is_bytes($back, $bytes, '4 MiB come back');
	ends $client->finish, 0, $server, $identical, '', 'the end';
	$server->stop;
};

subtest 'a server that reads nothing while it writes' => sub {
	my $server = start_wrong('plain');
	my $out = "$tmp/out";
	my $r = sends({ stdin => $path, out => $out }, $server);
	ends $r, 0, $server, $identical, undef, '16 MiB from a file to a file';
	is_bytes(slurp($out), slurp($path), 'all bytes');
};

done_testing;
