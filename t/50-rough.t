# Resets, hostile text, no free descriptors, a log that cannot be written: the
# server continues in all cases.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Socket qw(SHUT_RD);
use Test::More;
use Time::HiRes qw(sleep time);

sub test_log_lines {
	my ($engine) = @_;
	my $server = start_server($engine);
	my $sock = dial($server);
	my $from = '127\.0\.0\.1:' . $sock->sockport;
	exchange($sock, 'This is a test message.', undef, half_close => 1);
	$server->wait_log(qr/closed/);
	like $server->log, qr/\A$from\ connected\n
	    $from\ received\ 23\ bytes\ "This\ is\ a\ test\ message\."\n
	    $from\ closed\ after\ 23\ bytes,\ \d+\.\d\ ms:\ end\ of\ \w+\n\z/x,
	    'a connection has three lines';

	my $evil = "\x1b]0;owned\x07\r\n127.0.0.1:1 connected\n\"\\ \xff\xc2\x9b" .
	    "31m \xe2\x80\xae \xc3\xbc \x7f";
	exchange(dial($server), $evil, undef, half_close => 1);
	$server->wait_log(qr/closed/, 2);
	my @lines = split /\n/, $server->log;
	is @lines, 6, 'a client cannot add a line';
	unlike $server->log, qr/[^\x0a\x20-\x7e\x80-\xff]|\xc2\x9b|\xe2\x80\xae/,
	    'no control character of a client is written';
	like $lines[4], qr/"\\x1b\]0;owned\\x07\\x0d\\x0a127.* connected\\x0a\\x22
	    \\x5c\ \\xff\\xc2\\x9b31m\ \\xe2\\x80\\xae\ \xc3\xbc\ \\x7f"$/x,
	    'control characters are escaped, other UTF-8 is not';

	exchange(dial($server), 'x' x 63 . "\xe4\xb8\x96" . 'y' x 100, undef,
	    half_close => 1);
	$server->wait_log(qr/closed/, 3);
	like $server->log, qr/received 166 bytes "x{63}"\.\.\.$/m,
	    'a long text is cut between two characters';
	$server->stop;
}

sub test_levels {
	my ($engine) = @_;
	my $server = start_server($engine, '-q');
	exchange(dial($server), 'psst', undef, half_close => 1);
	$server->stop;
	is $server->log, '', '-q writes nothing';
	$server = start_server($engine, '-v', '--chunk=16');
	exchange(dial($server), 'x' x 40, undef, half_close => 1);
	$server->stop;
	is scalar(() = $server->log =~ / read (?:16|8) bytes "x+"$/mg), 3,
	    '-v writes a line for each read';
}

sub test_resets {
	my ($engine) = @_;
	my $server = start_server($engine);
	my $before = $server->descriptors;
	for (1 .. 100) {
		my $victim = dial($server);
		put($victim, 'y' x 50000);
		reset_connection($victim);
	}
	is exchange(dial($server), 'alive', undef, half_close => 1), 'alive',
	    'the server goes on after 100 resets in mid-stream';
	$server->wait_log(qr/closed/, 101);
	SKIP: {
		skip 'descriptors are counted in /proc', 1
		    unless defined $before;
		wait_until(sub { $server->descriptors == $before });
		is $server->descriptors, $before,
		    'it has closed the descriptors of all';
	}
	$server->stop;

	# A client that closes while the server sends to it.
	$server = start_server($engine, '--stream');
	my $sock = dial($server);
	put($sock, 'z' x 100000);
	shutdown $sock, SHUT_RD;
	close $sock;
	is exchange(dial($server), 'alive', undef, half_close => 1), 'alive',
	    'it goes on after a client has closed early';
	$server->stop;
}

sub test_unread_log {
	my ($engine) = @_;
	pipe my $reader, my $writer or die $!;
	$writer->blocking(0);
	1 while syswrite $writer, 'x' x 4096;
	$writer->blocking(1);
	my $server = start_server({ log => $writer }, $engine);
	is exchange(dial($server), 'hush', undef, half_close => 1), 'hush',
	    "client $_ is served while the log is a full pipe" for 1 .. 3;
	$server->stop;
	close $writer;
	my $late = do { local $/; readline $reader };
	unlike $late, qr/connected|received/, 'the lines are dropped';
}

sub test_no_log {
	my ($engine) = @_;
	for my $log ([ '2>/dev/full', 'full' ], [ '2>&-', 'closed' ]) {
		my $server = start_server({ wrap => [ 'sh', '-c',
		    "exec \"\$\@\" $log->[0]", 'sh' ] }, $engine);
		is exchange(dial($server), 'quiet', undef, half_close => 1),
		    'quiet', "client $_ is served while stderr is $log->[1]"
		    for 1 .. 3;
		$server->stop;
	}
	for my $out ('>/dev/full', '>&-') {
		my $run = run_echo({ command => '/bin/sh' }, '-c',
		    "exec \"\$\@\" $out", 'sh', program(), 'serve', '-p0',
		    $engine);
		is $run->{status}, 7, "with stdout $out it exits with 7";
		like $run->{err}, qr/\A.*\n\z/, 'and writes one line';
	}
}

for my $engine (engines()) {
	subtest "$engine: the log" => sub { test_log_lines($engine) };
	subtest "$engine: -q and -v" => sub { test_levels($engine) };
	subtest "$engine: resets" => sub { test_resets($engine) };
	subtest "$engine: a log that is not read" =>
	    sub { test_unread_log($engine) };
	subtest "$engine: output that cannot be written" =>
	    sub { test_no_log($engine) };
}

# Without free descriptors the server closes a few waiting clients, keeps its
# connected clients, sleeps, and accepts again as soon as a client leaves.

# 80 clients of a server whose processes may have 32 descriptors. The limit is
# lowered after the start, because the server respects the limit that it finds
# at its start.
sub exhaust {
	my ($server) = @_;
	my @socks = map { dial($server) } 1 .. 80;
	$server->wait_log(qr/Too many open/);
	return @socks;
}

# How long it takes until a new client is served, once all others have left.
sub recovery_time {
	my ($server, @socks) = @_;
	close $_ for @socks;
	return seconds_of(sub {
		exchange(dial($server), 'back', 4) eq 'back' or die 'no answer'
	});
}

sub test_exhausted {
	my ($case) = @_;
	my ($server, @socks) = ($case->{server}, @{ $case->{socks} });
	my $warnings = () = $server->log =~ /Too many/g;
	is_between $warnings, 1, 2 + time - $case->{start},
	    'it warns once a second at most';
	is_between scalar(grep { IO::Select->new($_)->can_read(0) } @socks),
	    1, 10, 'it closes few clients of 80';
	is scalar(grep { exchange($_, 'x', 1) eq 'x' } @socks[0 .. 9]), 10,
	    'it serves those that were connected before';
	@{ $case->{socks} } = ();
	at_most(1, sub {
		my $time = recovery_time($server, splice @socks);
		@socks = exhaust($server) if $time > 1;
		return $time;
	}, 'when all have left a new client is served within a second');
	$server->stop;
}

SKIP: {
	# The server respects the limit at its start, so this limit is set
	# later.
	my @cases = map { { engine => $_, server => start_server($_) } }
	    parallel_engines();
	for (@cases) {
		exchange(dial($_->{server}), 'x', 1);
		next if $_->{server}->limit_descriptors(32);
		$_->{server}->stop for @cases;
		skip 'descriptors cannot be limited by prlimit(1)', 1;
	}
	for (@cases) {
		$_->{server}->allow(qr/^echo serve: cannot accept, pausing: Too many open/);
		$_->{start} = time;
		$_->{socks} = [ exhaust($_->{server}) ];
	}
	my @servers = map { $_->{server} } @cases;
	at_most(0.04 + 0.02, sub { cpu_of_busiest(2, @servers) },
	    'without free descriptors a server sleeps (processor seconds)');
	for my $case (@cases) {
		subtest "$case->{engine}: no free descriptor" =>
		    sub { test_exhausted($case) };
	}
}

# A log file that must not grow (RLIMIT_FSIZE) is a full log, and SIGXFSZ does not
# end the server.
for my $engine (engines()) {
	subtest "$engine: the log file has a size limit" => sub {
		my $server = start_server({ wrap => [ 'sh', '-c',
		    'ulimit -f 1; exec "$@"', 'sh' ] }, $engine, '--stream');
		my $exact = 0;
		for (1 .. 30) {
			my $sock = dial($server);
			$exact += exchange($sock, 'x' x 100, 100) eq 'x' x 100;
			close $sock;
		}
		is $exact, 30, 'thirty clients are all served';
		cmp_ok length $server->log, '<=', 1024, 'the log is full';
		$server->signal('TERM');
		is $server->wait, 0, 'exit status';
	};
}

# If the limit is set before the start, further clients wait.
for my $engine (parallel_engines()) {
	subtest "$engine with 16 descriptors" => sub {
		my $server = start_server({ wrap => [ 'sh', '-c',
		    'ulimit -n 16; exec "$@"', 'sh' ] }, $engine);
		my @socks = map { dial($server) } 1 .. 40;
		put($_, 'x') for @socks;
		my $exact = 0;
		for (@socks) {
			$exact += get($_, 1) eq 'x';
			close $_;
		}
		is $exact, 40, 'forty clients are all served';
		$server->stop;
	};
	subtest "$engine with 5 descriptors" => sub {
		plan skip_all => 'a sanitizer needs descriptors at exit'
		    if sanitized();
		my $run = run_echo({ wrap => [ 'sh', '-c',
		    'ulimit -n 5; exec "$@"', 'sh' ] }, 'serve',
		    $engine, '-q', '-p0');
		is $run->{status}, 7, 'there is no room for a client: exit 7';
		like $run->{err}, qr/\A(.*(descriptor|open files).*\n)+\z/,
		    'the message says so';
	};
}

# Several processes of a server may write to the same terminal or file.
SKIP: {
	skip 'a sanitizer cannot be traced', 1 if sanitized();
	skip 'no strace here that may trace', 1
	    if run_command('strace', '-e', 'trace=none', 'true')->{status};
	skip 'no /dev/full', 1 unless -c '/dev/full';
	my $trace = File::Temp->new;
	my $run = run_command({ out => '/dev/full' }, 'strace', '-qq', '-e',
	    'trace=write', '-o', "$trace", program(), 'serve', '--port=0');
	my $writes = () = slurp("$trace") =~ /^write\(2, /mg;
	is "$run->{status} $writes", '7 1', 'an error message is one write';
}

done_testing;
