# Rough times: resets, hostile text, no descriptors, a log that cannot be
# written. The server goes on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Socket qw(:all);
use Test::More;
use Time::HiRes qw(sleep time);

my @parallel = grep { $_ ne '--blocking' } engines();

sub reset_hard {
	my ($sock) = @_;
	setsockopt $sock, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
	close $sock;
}

for my $engine (engines()) {
	my $server = start_server($engine);

	# The lines of a connection, to the letter.
	my $sock = dial($server);
	my $from = '127\.0\.0\.1:' . $sock->sockport;
	exchange($sock, 'This is a test message.', undef, half_close => 1);
	$server->wait_log(qr/closed/);
	like $server->log, qr/\A$from\ connected\n
	    $from\ received\ 23\ bytes\ "This\ is\ a\ test\ message\."\n
	    $from\ closed\ after\ 23\ bytes,\ \d+\.\d\ ms:\ end\ of\ \w+\n\z/x,
	    "$engine: three lines a connection";

	# Hostile text.
	my $evil = "\x1b]0;owned\x07\r\n127.0.0.1:1 connected\n\"\\ \xff\xc2\x9b" .
	    "31m \xe2\x80\xae \xc3\xbc \x7f";
	exchange(dial($server), $evil, undef, half_close => 1);
	$server->wait_log(qr/closed/, 2);
	my @lines = split /\n/, $server->log;
	is @lines, 6, "$engine: a client forges no line of the log";
	unlike $server->log, qr/[^\x0a\x20-\x7e\x80-\xff]|\xc2\x9b|\xe2\x80\xae/,
	    "$engine: and no control byte gets there";
	like $lines[4], qr/"\\x1b\]0;owned\\x07\\x0d\\x0a127.* connected\\x0a\\x22
	    \\x5c\ \\xff\\xc2\\x9b31m\ \\xe2\\x80\\xae\ \xc3\xbc\ \\x7f"$/x,
	    "$engine: which shows it escaped, and plain UTF-8 as it is";
	exchange(dial($server), 'x' x 63 . "\xe4\xb8\x96" . 'y' x 100, undef,
	    half_close => 1);
	$server->wait_log(qr/closed/, 3);
	like $server->log, qr/received 166 bytes "x{63}"\.\.\.$/m,
	    "$engine: of a long text the beginning, in whole characters";

	# Resets.
	my $before = $server->descriptors;
	for (1 .. 100) {
		my $victim = dial($server);
		put($victim, 'y' x 50000);
		reset_hard($victim);
	}
	is exchange(dial($server), 'alive', undef, half_close => 1), 'alive',
	    "$engine: 100 resets in mid-stream";
	$server->wait_log(qr/closed/, 104);
	is $server->descriptors, $before, "$engine: and no descriptor is lost"
	    if defined $before;
	$server->stop;

	# One that closes while we send to it.
	$server = start_server($engine, '--stream');
	$sock = dial($server);
	put($sock, 'z' x 100000);
	shutdown $sock, SHUT_RD;
	close $sock;
	is exchange(dial($server), 'alive', undef, half_close => 1), 'alive',
	    "$engine: a peer that closes early";
	$server->stop;

	# Levels of the log.
	$server = start_server($engine, '-q');
	exchange(dial($server), 'psst', undef, half_close => 1);
	$server->stop;
	is $server->log, '', "$engine: -q: not a word";
	$server = start_server($engine, '-v', '--chunk=16');
	exchange(dial($server), 'x' x 40, undef, half_close => 1);
	$server->stop;
	is scalar(() = $server->log =~ / read (?:16|8) bytes "x+"$/mg), 3,
	    "$engine: -v: a line per read";

	# A log that nobody reads: lines are lost, and counted; nothing waits.
	pipe my $reader, my $writer or die $!;
	$writer->blocking(0);
	1 while syswrite $writer, 'x' x 4096;
	$writer->blocking(1);
	$server = start_server({ log => $writer }, $engine);
	is exchange(dial($server), 'hush', undef, half_close => 1), 'hush',
	    "$engine: nobody reads the log" for 1 .. 3;
	$server->stop;
	close $writer;
	my $late = do { local $/; readline $reader };
	unlike $late, qr/connected|received/, "$engine: so it says nothing";

	# A log that cannot be written, or is not there at all.
	for my $log ([ '2>/dev/full', 'full' ], [ '2>&-', 'closed' ]) {
		$server = start_server({ wrap => [ 'sh', '-c',
		    "exec \"\$\@\" $log->[0]", 'sh' ] }, $engine);
		is exchange(dial($server), 'quiet', undef, half_close => 1),
		    'quiet', "$engine: stderr is $log->[1]" for 1 .. 3;
		$server->stop;
	}
	for my $out ('>/dev/full', '>&-') {
		my $run = run_echo({ command => '/bin/sh' }, '-c',
		    "exec \"\$\@\" $out", 'sh', program(), 'serve', '-p0',
		    $engine);
		is $run->{status}, 7, "$engine: stdout $out: exit 7";
		is scalar(() = $run->{err} =~ /\n/g), 1,
		    "$engine: with one line";
	}
}

# Out of descriptors: a few clients are turned away, none of those there
# suffers, the processor rests, and it recovers when one leaves.
for my $engine (@parallel) {
	SKIP: {
	# The limit falls when it has started: one that it knows of it keeps.
	my $server = start_server($engine);
	exchange(dial($server), 'x', 1);
	if (grep { system('prlimit', '--nofile=32', '--pid', $_) != 0 }
	    $server->pid, $server->workers) {
		$server->stop;
		skip 'no prlimit(1) here', 7;
	}
	$server->allow(qr/^echo serve: cannot accept, pausing: Too many open/);
	my @socks = map { dial($server) } 1 .. 80;
	ok $server->wait_log(qr/Too many open/),
	    "$engine: out of descriptors: it is said";
	my $cpu = $server->cpu;
	sleep 2;
	cmp_ok $server->cpu - $cpu, '<=', 0.04 + 0.02,
	    "$engine: it does not spin";
	my $warnings = () = $server->log =~ /Too many/g;
	cmp_ok $warnings, '<=', 3, "$engine: nor fill the log";
	my $away = grep { IO::Select->new($_)->can_read(0) } @socks;
	ok $away >= 1 && $away <= 10, "$engine: and turns few away" or
	    diag "$away of 80";
	my $served = grep { exchange($_, 'x', 1) eq 'x' } @socks[0 .. 9];
	is $served, 10, "$engine: those who are there are served";
	close $_ for splice @socks;
	my $start = time;
	is exchange(dial($server), 'back', 4), 'back',
	    "$engine: when they have left";
	cmp_ok time - $start, '<', 1, "$engine: new ones are, within 1 s";
	$server->stop;
    }
}

# A limit that is there from the start is known: who is beyond it waits.
for my $engine (@parallel) {
	my $server = start_server({ wrap => [ 'sh', '-c',
	    'ulimit -n 16; exec "$@"', 'sh' ] }, $engine);
	my @socks = map { dial($server) } 1 .. 40;
	put($_, 'x') for @socks;
	my $exact = 0;
	for (@socks) {
		$exact += get($_, 1) eq 'x';
		close $_;
	}
	is $exact, 40, "$engine: 40 clients with 16 descriptors, none dropped";
	$server->stop;

	SKIP: {
		skip 'a sanitizer needs descriptors at its end', 2
		    if sanitized();
		my $run = run_echo({ wrap => [ 'sh', '-c',
		    'ulimit -n 5; exec "$@"', 'sh' ] }, 'serve',
		    $engine, '-q', '-p0');
		is $run->{status}, 7,
		    "$engine: no room for a single client: exit 7";
		like $run->{err}, qr/\A(.*(descriptor|open files).*\n)+\z/,
		    "$engine: and a line";
	}
}

done_testing;
