# check --start: it starts the server, starts it again after a crash, and leaves
# no process behind, whatever the server does.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use CheckRun;
use EchoTest;
use File::Temp ();
use IO::Socket::IP ();
use Socket qw(SOCK_STREAM SOMAXCONN);
use Storable qw(nfreeze thaw);
use Test::More;
use Time::HiRes qw(time);

my $dir = File::Temp->newdir;

# A server that serves one client at a time. Its arguments are its port and
# NAME or NAME=VALUE, see below.
my $program = <<'SERVER';
use strict;
use warnings;
use POSIX qw(_exit setsid);
use IO::Socket::IP ();
my ($port, %how) = ($ARGV[0], map { /^(\w+)(?:=(.*))?$/ ? ($1, $2 // 1) : () }
    @ARGV[1 .. $#ARGV]);
$SIG{TERM} = 'IGNORE' if $how{deaf};
$SIG{PIPE} = 'IGNORE';
if ($how{flood}) {		# one process floods stdout and stderr
	my $pid = fork // die;
	if ($pid == 0) {
		1 while syswrite(STDOUT, "x\n" x 4096) && syswrite STDERR, 'y';
		_exit 0;
	}
}
sleep $how{sleep} if $how{sleep};
if ($how{daemon}) {		# leaves the process group, as daemons do
	_exit 0 if fork;
	setsid;
	_exit 0 if fork;
}
my $listener = IO::Socket::IP->new(LocalHost => $how{host} // '127.0.0.1',
    LocalPort => $port, Listen => 5, ReuseAddr => $how{reuse} // 1) or
    die "bind: $@\n";
sub note_line {
	open my $f, '>>', $ENV{ECHO_NOTES} or die $!;
	syswrite $f, "$_[0]\n";
}
note_line("pid $$");
note_line("port $port");
my $served = 0;
sub crash {
	if ($how{message}) {
		print STDERR "Traceback:\n  line 1: \e[31m\"x\"\n\nError: two\n";
	}
	close $listener if $how{unlisten};
	select undef, undef, undef, $how{late} if $how{late};
	kill $how{signal}, $$ if $how{signal};
	_exit $how{status} // 9;
}
while (my $client = $listener->accept) {
	_exit 8 if $how{refuse};
	note_line('client');
	my $is_empty = 1;
	while (sysread $client, my $data, 1024) {
		$is_empty = 0;
		next if $how{mute};
		crash() if $how{ascii} && $data =~ /[\x80-\xff]/;
		syswrite $client, $data;
		last if $how{once} || $how{close_first};
	}
	close $client;
	crash() if $how{once} || ($how{empty} && $is_empty) ||
	    ++$served == ($how{clients} // 0);
}
SERVER
{
	open my $f, '>', "$dir/server.pl" or die $!;
	print $f $program;
	close $f or die $!;
}

my $mark = 0;
sub command { "$^X $dir/server.pl {port} @_" }

# The processes that have the mark of the current run in their environment.
sub marked {
	return grep {
		(eval { slurp("/proc/$_/environ") } // '') =~
		    /(?:^|\0)ECHO_MARK=$$-$mark\0/ && !process_gone($_)
	} map { m{/(\d+)$} } glob '/proc/[0-9]*';
}

sub notes { my $notes = eval { slurp("$dir/notes") } // ''; $notes }
sub clients { scalar(() = notes() =~ /^client$/mg) }

# Marks the processes of the next run.
sub new_mark {
	$mark++;
	unlink "$dir/notes";
	$ENV{ECHO_MARK} = "$$-$mark";
	$ENV{ECHO_NOTES} = "$dir/notes";
}

# Runs check with --start, and asserts that no process is left. The first
# argument may be a reference to a hash of options for run_echo.
sub start_check {
	my %how = ref $_[0] ? %{ +shift } : ();
	my ($command, @args) = @_;
	new_mark();
	my $run = run_echo(\%how, 'check', "--start=$command", @args);
	delete $ENV{ECHO_MARK};
	is join(' ', marked()), '', 'no process is left';
	return $run;
}

# Asserts the exit status, and the results of the tests as a text.
sub is_outcome {
	my ($run, $status, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @results = $run->{out} =~ /^((?:not )?ok \d+ - [\w-]+)/mg;
	return is join(', ', "status $run->{status}", @results),
	    "status $status, $expected", $name;
}

# A port that was free a short time ago.
sub free_port {
	my ($holder, $address) = closed_port();
	my ($port) = $address =~ /:(\d+)$/;
	return $port;
}

# check waits ten seconds for a server that never listens. This run begins here,
# in parallel with the other tests, and its result is read later.
my $silent = 'exec sleep 1000';
pipe my $silent_result, my $write_result or die "pipe: $!";
my $silent_check = spawn(sub {
	$ENV{ECHO_MARK} = "$$-$mark";
	# No other program gets this port meanwhile.
	my ($holder, $address) = closed_port();
	my $run = run_echo('check', "--start=$silent", '--only=bytes-1',
	    $address);
	delete $ENV{ECHO_MARK};
	print $write_result nfreeze({ %$run, left => join ' ', marked() });
	close $write_result;
});
close $write_result;
sub result_of_silent {
	my $run = thaw(do { local $/; <$silent_result> });
	waitpid $silent_check, 0;
	is $run->{left}, '', 'no process is left';
	return $run;
}

subtest 'a correct server' => sub {
	my $run = start_check(command(), '--only=bytes-1,text,every-byte');
	is_outcome($run, 0, 'ok 1 - bytes-1, ok 2 - text, ok 3 - every-byte',
	    'it passes');
	is clients(), 3, 'each test is one client: there is no separate probe';
	is $run->{err}, '', 'nothing on stderr';
};

subtest 'the stdin of a server is empty' => sub {
	my $run = start_check({ in => 'the stdin of check' },
	    'test -z "$(cat)" && exec ' . command(), '--only=bytes-1');
	is_outcome($run, 0, 'ok 1 - bytes-1', 'it passes');
};

subtest 'a server that needs 3 s to come up' => sub {
	my $run = start_check(command('sleep=3'), '--only=bytes-1', '-t1s');
	is_outcome($run, 0, 'ok 1 - bytes-1', 'it passes');
	is clients(), 1, 'one client';
};

subtest 'a server that floods stdout and stderr' => sub {
	my $run = start_check(command('flood'), '--only=bytes-1,bytes-1M');
	is_outcome($run, 0, 'ok 1 - bytes-1, ok 2 - bytes-1M', 'it passes');
};

subtest 'a server that ignores SIGTERM' => sub {
	my $run = start_check(command('deaf'), '--only=bytes-1');
	is_outcome($run, 0, 'ok 1 - bytes-1', 'it passes');
	cmp_ok $run->{time}, '>=', 1, 'it had a second to end';
};

subtest 'a server that becomes a daemon' => sub {
	plan skip_all => 'only Linux finds it' unless system_has('linux');
	my $run = start_check(command('daemon', 'deaf'), '--only=bytes-1,text');
	is_outcome($run, 0, 'ok 1 - bytes-1, ok 2 - text', 'it passes');
	$run = start_check(command('daemon', 'ascii'),
	    '--only=text,every-byte,fin');
	is_outcome($run, 1, 'ok 1 - text, not ok 2 - every-byte, ok 3 - fin',
	    'a crash of it is noticed');
	like $run->{out}, qr/the server ended with exit status 9/,
	    'with its status';
};

subtest 'commands that do not become a server' => sub {
	for (
		['echo hello >&2; echo "  two"; exit 3', 1, qr/exit status 3/,
		    qr/^# \[\.\.\.\]\n#   two\n# hello\nBail out!/m],
		['exit 0', 1, qr/exit status 0/, qr/^1\.\.1\nBail out!/m],
		['kill -SEGV $$', 1, qr/was killed by signal 11 \(/, qr/^/],
		["sh -c 'exit 137'", 1, qr/was killed by signal 9 \(/, qr/^/],
		['no-such-interpreter server.py', 1, qr/exit status 127/,
		    qr/^# .*no-such-interpreter: .+\nBail out!/m],
		[$silent, 5, qr/did not accept a connection at /,
		    qr/^/]
	) {
		my ($command, $status, $reason, $output) = @$_;
		my $run = $command eq $silent ? result_of_silent() :
		    start_check($command, '--only=bytes-1', '-p', free_port());
		is $run->{status}, $status, "$command: exit status";
		my $bailout = parse_tap($run)->{bailout} // '';
		like $bailout, $reason, 'Bail out!';
		like $run->{out}, $output, 'its output';
		is $run->{err}, "echo check: $bailout\n", 'stderr';
	}
};

# The results if every-byte ends the server, which is then started again.
my $crash = '--only=utf8,text,every-byte,messages';
my $crashed = 'not ok 1 - utf8, ok 2 - text, not ok 3 - every-byte, ' .
    'ok 4 - messages';

subtest 'a crash costs one test' => sub {
	my $run = start_check(command('ascii', 'message'), $crash);
	is_outcome($run, 1, $crashed, 'the other tests pass');
	my $tap = parse_tap($run);
	is_deeply $tap->{errors}, [], 'the output is correct TAP';
	for (qw(utf8 every-byte)) {
		like $tap->{yaml}{$_}{message},
		    qr/the server ended with exit status 9$/, "$_: message";
		is $tap->{yaml}{$_}{stderr}, "Traceback:\n  line 1: ?[31m\"x\"" .
		    "\nError: two\n", "$_: the last lines of stderr";
	}
	is clients(), 4, 'no connection was made only to see whether it runs';
	my %ports = map { $_ => 1 } notes() =~ /^port (\d+)$/mg;
	is keys %ports, 3, 'each of three starts has a port of its own';
};

subtest 'a crash by a signal' => sub {
	for my $shell ('exec ', '', 'true; ') {
		my $command = command('ascii', 'signal=SEGV');
		$command .= '; exit $?' if $shell eq 'true; ';
		my $run = start_check("$shell$command", $crash);
		is_outcome($run, 1, $crashed, "after '$shell'");
		like parse_tap($run)->{yaml}{utf8}{message},
		    qr/the server was killed by signal 11 \(.+\)$/, 'message';
	}
};

subtest 'a server that serves one client' => sub {
	my $run = start_check(command('once', 'status=0'),
	    '--only=bytes-1,text');
	is_outcome($run, 1, 'not ok 1 - bytes-1, not ok 2 - text',
	    'each test is tried and fails');
	my $tap = parse_tap($run);
	like $tap->{yaml}{$_}{message}, qr/the server ended with exit status 0/,
	    "$_: message" for qw(bytes-1 text);
	is clients(), 2, 'one client for each test';
	is $tap->{yaml}{'bytes-1'}{message}, 'the server ended with exit ' .
	    'status 0 after it had answered: it serves one client only',
	    'what the first crash shows';
};

# The time at which check notices the end of the server must not change the
# report.
subtest 'a server that ends at an empty connection' => sub {
	for my $late (0, 0.15) {
		my $run = start_check(command('empty', "late=$late"),
		    '--only=no-banner,text');
		is parse_tap($run)->{yaml}{'no-banner'}{message}, 'the server ' .
		    'ended with exit status 9 after the client had closed ' .
		    'without a message', "after $late s";
	}
};

subtest 'a server that ends slowly, without a listener' => sub {
	plan skip_all => 'only Linux tells whether a program listens'
	    unless system_has('linux');
	my $run = start_check(command('once', 'unlisten', 'late=0.5'),
	    '--only=bytes-1,text');
	is_outcome($run, 1, 'not ok 1 - bytes-1, not ok 2 - text',
	    'the crash is charged to the test that caused it');
};

# The fourth client waits in the queue of the listener, or finds no listener.
subtest 'a server that ends within a test' => sub {
	for my $late (0, 0.05) {
		my $run = start_check(command('clients=3', "late=$late"),
		    '--only=one-by-one');
		is parse_tap($run)->{yaml}{'one-by-one'}{message},
		    'the server ended with exit status 9', "after $late s";
	}
};

# Chance decides whether check notices the end before it begins the test.
subtest 'a server that ends when a client connects' => sub {
	for my $run (1 .. 6) {
		my $tap = parse_tap(start_check(command('refuse'),
		    '--only=bytes-1,text'));
		like $tap->{yaml}{$_}{message},
		    qr/^ended the connection without an answer; the server ended with exit status 8$/,
		    "run $run, $_" for qw(bytes-1 text);
	}
};

# On a busy machine, the server may need more time to end than check allows.
subtest 'a server that dies 20 ms after its answer' => sub {
	my $expected = "not ok 1 - bytes-1\nnot ok 2 - text\n";
	my $results = sub {
		my $run = start_check(command('once', 'late=0.02'),
		    '--only=bytes-1,text');
		return join '', $run->{out} =~ /^((?:not )?ok .*\n)/mg;
	};
	is measure_again($results, sub { $_[0] eq $expected }), $expected,
	    'the crash is charged to the test that caused it';
};

# Options that make a server close first, so that its end of the connection
# remains in TIME_WAIT, in which it cannot bind the same port again.
my @waiting = (command(qw(ascii close_first reuse=0)),
    '--only=bytes-1,bytes-13,every-byte,fin');

subtest 'a server without SO_REUSEADDR at a fixed port' => sub {
	my $command = $waiting[0];
	my $run = start_check($command, $waiting[1], '-p', free_port());
	my $tap = parse_tap($run);
	is_deeply $tap->{failed}, ['every-byte'], 'only the crash fails';
	is join(' ', @{ $tap->{skipped} }, @{ $tap->{passed} }) =~
	    s/^fin (.*)$/$1 fin/r, 'bytes-1 bytes-13 fin',
	    'the server is started again, or the reason is reported';
	like $tap->{reason}{fin}, qr/is in TIME_WAIT/, 'TIME_WAIT'
	    if @{ $tap->{skipped} };
};

SKIP: {
	my @apart = qw(unshare --user --map-root-user --net sh -c);
	my $prepare = 'PATH=$PATH:/sbin:/usr/sbin; ip link set lo up && ' .
	    'echo 1 >/proc/sys/net/ipv4/tcp_rfc1337';
	skip 'no network namespace with rfc1337 is permitted', 1
	    if run_command(@apart, $prepare)->{status} != 0;
	subtest 'TIME_WAIT that cannot be ended is no fault' => sub {
		my $run = start_check({ wrap => [ @apart,
		    "$prepare; exec \"\$@\"", 'sh' ] }, @waiting, '-p10000');
		my $tap = parse_tap($run);
		is_deeply $tap->{failed}, ['every-byte'], 'the crash fails';
		like $tap->{reason}{fin} // '', qr/^not tried: .*port 10000 is in TIME_WAIT/,
		    'the next test is skipped';
	};
}

subtest 'the port' => sub {
	my $other = start_server();
	my $run = start_check(command(), '--only=bytes-1', '-p', $other->port);
	is $run->{status}, 7, 'a port of another program: exit status';
	is parse_tap($run)->{bailout}, 'another program listens on port ' .
	    $other->port, 'Bail out!';
	$other->stop;
	my $port = free_port();
	$run = start_check("$^X $dir/server.pl $port", '--only=bytes-1',
	    ":$port");
	is_outcome($run, 0, 'ok 1 - bytes-1', 'ADDRESS may have the port');
	like $run->{out}, qr/^# 127\.0\.0\.1:$port: 0 of 1 test failed$/m,
	    'the address is shown';
	SKIP: {
		skip 'no IPv6 here', 2 unless IO::Socket::IP->new(
		    LocalHost => '::1', Listen => 1);
		$run = start_check(command('host=::1'), '--only=bytes-1');
		is_outcome($run, 0, 'ok 1 - bytes-1', '::1 is tried, too');
		$run = start_check(command('host={host}'), '--only=bytes-1',
		    '[::1]');
		like $run->{out}, qr/^# \[::1\]:\d+: 0 of/m, '{host} and [::1]';
	}
};

# Starts check in the background with a server that does not answer, and waits
# until the server has a client. Returns the process ID of check.
sub check_in_background {
	new_mark();
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		# A shell ignores SIGINT for commands in the background.
		$SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
		open STDOUT, '>', "$dir/out";
		exec program(), 'check', '-t60s', '--start=' . command(@_);
	}
	delete $ENV{ECHO_MARK};
	wait_until(sub { clients() > 0 }) // die 'the server has no client';
	return $pid;
}

subtest 'signals to check end the server, too' => sub {
	my %number = (HUP => 1, INT => 2, TERM => 15);
	for my $signal (sort keys %number) {
		my $pid = check_in_background('mute', 'deaf',
		    system_has('linux') ? 'daemon' : ());
		kill $signal, $pid;
		waitpid $pid, 0;
		is $? & 127, $number{$signal}, "check ends by SIG$signal";
		is join(' ', marked()), '', 'no process is left';
	}
	my $pid = check_in_background('mute', 'deaf');
	kill KILL => $pid;
	waitpid $pid, 0;
	ok defined wait_until(sub { !marked() }), 'none is left after SIGKILL';
};

subtest 'a stdout that nobody reads' => sub {
	new_mark();
	my $run = run_command('sh', '-c', program() . ' check -v --start="$0" ' .
	    '2>/dev/null | head -n 3', command());
	delete $ENV{ECHO_MARK};
	like $run->{out}, qr/^TAP.*\n1\.\.\d+\n.*ok 1 /, 'three lines';
	ok defined wait_until(sub { !marked() }), 'no process is left';
};

SKIP: {
	skip 'no /dev/full', 1 unless -c '/dev/full';
	is start_check({ out => '/dev/full' }, command())->{status}, 7,
	    'a stdout that is full: exit status';
}

done_testing;
