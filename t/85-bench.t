# The load generator: its figures are what happened, every wrong byte ends it,
# and so does whatever else a server can do wrong.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use POSIX qw(WEXITSTATUS WIFEXITED WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);
use WrongServers;

my $tmp = File::Temp->newdir;

# Runs it against a server, or an address, to its end.
sub bench {
	my ($server, @args) = @_;
	my %how = ref $args[0] ? %{ shift @args } : ();
	$server = $server->address if ref $server;
	return run_echo({ deadline => 30, %how }, 'bench', $server, @args);
}

# Asserts its status and the one line that it said (a pattern; ADDR stands for
# the server's address; '' for not a word), and that it printed nothing then.
sub fails {
	my ($r, $status, $server, $said, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $address = quotemeta(ref $server ? $server->address : $server // '');
	$said =~ s/\bADDR\b/$address/g;
	return ok($r->{status} == $status && $r->{out} eq '' &&
	    $r->{err} =~ /\Aecho bench: (?:$said)\n\z/, $name) || diag
	    "status $r->{status} (signal $r->{signal}), should be $status\n",
	    'said ', show($r->{err}, 400), "\nshould be /$said/\n",
	    'printed ', show($r->{out}, 400);
}

# One JSON object a line and nothing else; undef and a word if not.
sub objects {
	my ($r) = @_;
	my @found = map { eval { JSON::PP::decode_json($_) } }
	    split /\n/, $r->{out};
	return @found if $r->{status} == 0 && $r->{err} eq '' &&
	    $r->{out} =~ /\n\z/ && !grep { ref ne 'HASH' } @found;
	diag "status $r->{status}: ", show($r->{out}, 600), "\n",
	    show($r->{err}, 400);
	return;
}

# Figures of one measurement.
sub measured { (objects(bench(@_, '--json')))[0] // {} }

# The same, with time enough that a message came back in it, however busy the
# machine is.
sub counted {
	my ($server, @args) = @_;
	my $m;
	for my $duration (qw(150ms 1s 5s)) {
		$m = measured($server, @args, "-d$duration");
		last if $m->{messages} // $m->{bytes};
	}
	return $m;
}

my @latencies = qw(p50_us p90_us p99_us p99_9_us max_us);
my @costs = qw(cpu_us_per_message cpu_s_per_gb memory_bytes);
my @keys = (qw(address mode connections size window idle round seconds
    messages messages_per_s bytes mb_per_s), @latencies, @costs);

sub near {
	my ($got, $wanted, $part) = @_;
	return abs($got - $wanted) <= ($part // 0.01) * $wanted + 0.06;
}

# What is wrong with figures of the named mode, in words.
sub oddities {
	my ($m, $mode, $in_flight) = @_;
	my @odd;
	return 'no figures' unless $m->{mode};
	push @odd, "mode $m->{mode}" if $m->{mode} ne $mode;
	push @odd, 'keys ' . join ' ', sort keys %$m
	    if "@{[sort keys %$m]}" ne "@{[sort @keys]}";
	push @odd, "took $m->{seconds} s"
	    if $m->{seconds} < 0.15 || $m->{seconds} > 8;
	push @odd, 'nothing came back' if $m->{bytes} == 0;
	push @odd, "$m->{mb_per_s} MB/s" unless near($m->{mb_per_s},
	    $m->{bytes} / 1e6 / $m->{seconds});
	if ($mode eq 'stream') {
		push @odd, map { "stream with $_" } grep { defined $m->{$_} }
		    qw(messages messages_per_s cpu_us_per_message), @latencies;
		return @odd;
	}
	push @odd, "$m->{messages} messages with $m->{bytes} bytes" unless
	    abs($m->{bytes} - $m->{messages} * $m->{size}) <=
	    $in_flight * $m->{size};
	push @odd, "$m->{messages_per_s} messages/s" unless
	    near($m->{messages_per_s}, $m->{messages} / $m->{seconds});
	my $last = 1;
	for (map { $m->{$_} } @latencies) {
		push @odd, "latencies @$m{@latencies}" if $_ < $last;
		$last = $_;
	}
	return @odd;
}

sub is_sound {
	my ($m, $mode, $in_flight, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @odd = oddities($m, $mode, $in_flight);
	return ok(!@odd, $name) || diag join "\n", @odd;
}

# Every mode on every engine. The blocking one has one client at a time.
for my $engine (engines()) {
	my $blocking = $engine eq '--blocking';
	my @server = ($engine, '--stream');
	my $server = start_server('-q', @server);
	my @c = $blocking ? () : ('-c20');
	my $n = $blocking ? 1 : 20;
	my @pid = ('--pid', $server->pid);
	my $m = counted($server, @c, @pid);
	is_sound($m, 'round-trips', $n, "$engine: round trips");
	cmp_ok $m->{cpu_us_per_message}, '>', 0.1, "$engine: cost time";
	ok near($m->{cpu_s_per_gb}, $m->{cpu_us_per_message} / 64 * 1e3),
	    "$engine: as much a GB as a message";
	cmp_ok $m->{memory_bytes}, '>', 50_000, "$engine: and memory";
	is_sound(counted($server, @c, '-s5000', '-w7'), 'round-trips', 7 * $n,
	    "$engine: several messages in flight");
	is_sound(counted($server, $blocking ? '-s50k' : ('-s3M', '-c2')),
	    'round-trips', 2, "$engine: large messages");
	$m = counted($server, @c, '--stream', @pid);
	is_sound($m, 'stream', 0, "$engine: streams");
	cmp_ok $m->{cpu_s_per_gb}, '>', 0.01, "$engine: cost time a GB";
	is_sound(counted($server, @c, '--connect'), 'connect', $n,
	    "$engine: connections");
	$server->stop;
}
{
	my $server = start_server('-q');
	is_sound(counted($server, '--connect'), 'connect', 1,
	    'a server of one message a connection');
	$server->stop;
}

# What it says it did, the server saw.
{
	my $server = start_server('--select', '-v');
	my $m = counted($server, '-c2', '-s40', '-w4', '--idle=30');
	is "@$m{qw(address connections size window idle round)}",
	    $server->address . ' 2 40 4 30 1', 'says what it was asked for';
	my @known = grep { defined $m->{$_} } @costs;
	is "@known", '', 'knows no costs of a server unknown';
	$server->stop;
	my @closed = $server->log =~ /closed after (\d+) byte/g;
	is scalar(@closed), 33, '32 connections, and one to see who is there';
	is scalar(grep { $_ == 1 } @closed), 30, '30 of them silent but once';
	my ($all) = $server->log =~ /, (\d+) bytes\n\z/;
	cmp_ok $all, '>=', $m->{bytes}, 'what came back had been there';
	like $server->log, qr/ read 160 bytes/, 'four messages in one';
}
SKIP: {
	chomp(my $hard = `sh -c 'ulimit -Hn'`);
	skip 'too few descriptors here', 2
	    if $hard ne 'unlimited' && $hard < 1100;
	my $server = start_server('--select', '-q');
	is_sound(counted($server, {
	    wrap => ['sh', '-c', 'ulimit -Sn 64; exec "$@"', 'sh'] },
	    '-c', 900, '--idle', 50), 'round-trips', 900,
	    '950 connections, with a limit that it raises');
	$server->stop;
}
{
	my $server = start_server('--select', '-q');
	fails(bench($server, {
	    wrap => ['sh', '-c', 'ulimit -n 64; exec "$@"', 'sh'] }, '-c100'),
	    7, $server, '100 connections need 116 descriptors, but the limit ' .
	    'is 64 .*', 'a limit that it cannot raise');
	$server->stop;
}

# Times are what they should be: servers that answer after known ones.
{
	my $server = start_wrong('byte-by-byte', 0.03);
	my $m = counted($server, '-s2', '-c2');
	cmp_ok $m->{p50_us}, '>=', 60_000, 'a round trip that takes 60 ms';
	# One on each connection had begun before.
	cmp_ok $m->{messages}, '<=', 2 * ($m->{seconds} / 0.06 + 1),
	    'is not made more often';
	$m = counted($server, '-s1', '-w4');
	cmp_ok $m->{max_us}, '>=', 100_000, 'four in flight wait for another';
	$server = start_wrong('starts-slowly', 0.15);
	$m = counted($server, '--connect');
	cmp_ok $m->{p50_us}, '>=', 150_000, 'a connection that takes 150 ms';
	is measured($server, '-d10ms', '--connect')->{p50_us}, undef,
	    'nothing in time: no latency';
}

# A name that JSON has to quote.
{
	my $server = start_server('-q', '--select', '-a',
	    qq(unix:$tmp/a"b\\c\x7f));
	my $m = measured($server, '-d10ms');
	is $m->{address}, $server->address, 'a Unix socket of any name';
	$server->stop;
}

# Costs are those of the whole tree, of those in it that have ended as well,
# and of the time measured only.
{
	my $server = start_wrong('plain');	# a process a connection
	my $m = counted($server, '-c2', '--pid', $server->pid);
	cmp_ok $m->{cpu_us_per_message}, '>', 2,
	    'processor time of children counts' or diag explain $m;
}
{
	# Each child takes 40 ms and is waited for.
	my $server = start_command($^X, '-MIO::Socket::INET', '-e', <<'END');
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 9) or die;
$| = 1;
print 'listening on 127.0.0.1:', $l->sockport, "\n";
while (my $c = $l->accept) {
	my $pid = fork // die;
	if ($pid == 0) {
		1 until (times)[0] + (times)[1] > 0.04;
		print $c $_ while sysread $c, $_, 100 and $c->autoflush;
		exit;
	}
	close $c;
	waitpid $pid, 0;
}
END
	my $m = counted($server, '--connect', '--pid', $server->pid);
	cmp_ok $m->{cpu_us_per_message} // 0, '>', 25_000,
	    'and that of children that have ended' or diag explain $m;
}
{
	my $server = start_server('--select', '-q');
	measured($server, '-d200ms', '-c20', '--stream');
	my $before = $server->cpu;
	my $m = measured($server, '-d100ms', '--pid', $server->pid);
	cmp_ok $m->{messages} * $m->{cpu_us_per_message} / 1e6, '<=',
	    $server->cpu - $before + 0.03, 'not what was before it' or
	    diag explain $before, $m;
	$server->stop;
}
{
	my $server = start_server('--select', '-q');
	fails(bench($server, '-d100ms', '--pid=2147483647'), 7, $server,
	    '--pid: .*2147483647: No such process', 'no such process');
	$server->stop;
}

# Several servers in turn.
{
	my @servers = map { start_server('--select', '-q') } 1, 2;
	my @addresses = map { $_->address } @servers;
	my @pids = map { '--pid=' . $_->pid } @servers;
	my @turns = objects(run_echo('bench', @addresses, '-d20ms', @pids,
	    '--rounds=3', '--json'));
	is join(' ', map { "$_->{round}:$_->{address}" } @turns),
	    join(' ', map { my $r = $_; map { "$r:$_" } @addresses } 1 .. 3),
	    'three rounds of two, in turn';
	is scalar(grep { $_->{memory_bytes} } @turns), 6, 'each with its costs';
	is scalar(objects(run_echo('bench', @addresses, '-d1ms', '--json'))),
	    10, 'five rounds if not told';

	my $r = run_echo('bench', @addresses, '-d20ms', '-v', @pids);
	is $r->{status}, 0, 'the same for people';
	my %row;	# figure => the rows of its table
	my $figure;
	for (split /\n/, $r->{out}) {
		$figure = $1 if /^(\S.*?) {2,}median +least +most +ratio$/;
		push @{ $row{$figure} }, [$1, split ' ', $2] if defined $figure
		    && /^  (\S+:\d+) +([\d. ]+)$/;
	}
	is join(', ', sort keys %row), 'MB/s, max, us, p50, us, p90, us, ' .
	    'p99, us, p99.9, us, round trips/s, server CPU, s/GB, ' .
	    'server CPU, us/round trip, server memory, bytes', 'all figures';
	my @odd;
	for my $name (sort keys %row) {
		my ($one, $other) = @{ $row{$name} };
		push @odd, $name unless $one->[0] eq $addresses[0] &&
		    $other->[0] eq $addresses[1] && $one->[4] == 1 &&
		    near($other->[4], $other->[1] / $one->[1], 0.05);
		push @odd, "$name: @$_" for grep { $_->[2] > $_->[1] ||
		    $_->[1] > $_->[3] } $one, $other;
	}
	is "@odd", '', 'medians in their ranges, and ratios of medians';
	my @rates = $r->{err} =~
	    /^\Q$addresses[1]\E round \d: .* ([\d.]+) round trips\/s, p50 /mg;
	is scalar(@rates), 5, '-v says each';
	is $row{'round trips/s'}[1][1], (sort { $a <=> $b } @rates)[2],
	    'the median is the third of five';
	$_->stop for @servers;
}

# For people, one server.
{
	my $server = start_server('--select', '-q');
	my $r = bench($server, '-d100ms', '-s20', '-w3', '-c2');
	like $r->{out}, qr/\A\Q@{[$server->address]}\E:\ round\ trips\ of\ 20\ bytes,
	    \ 3\ in\ flight\ on\ each\ of\ 2\ connections\n
	    (?:\ \ \S.*?\ +\d+(?:\.\d+)?\n){7}\z/x, 'a figure a line';
	is $r->{err}, '', 'and no progress that nobody sees';
	for my $args ([], ['--json']) {
		SKIP: {
			skip 'no /dev/full', 1 unless -c '/dev/full';
			fails(bench($server, { out => '/dev/full' }, '-d1ms',
			    @$args), 7, $server, 'cannot write to standard ' .
			    'output: .*', "@$args >/dev/full");
		}
	}
	SKIP: {
		my @script = ('script', '-qec', join(' ', program('echo'),
		    'bench', $server->address, '-d150ms'), '/dev/null');
		skip 'no script(1) here', 3 if
		    system('script --version >/dev/null 2>&1') != 0;
		my $t = run_echo({ command => $script[0] },
		    @script[1 .. $#script])->{out};
		like $t, qr/\r\Q@{[$server->address]}\E: 0\.1 s, \d+ bytes/,
		    'on a terminal, progress';
		my @bars = $t =~ /^ +[\d.]+ +(\d+ #*)\r$/mg;
		cmp_ok scalar(@bars), '>', 1, 'and a drawing';
		my ($longest) = sort { length $b <=> length $a }
		    map { /(#*)$/ } @bars;
		is length $longest, 80 - 24, 'as wide as the terminal';
	}
	$server->stop;
}

# Wrong servers: [ server, options, status, what it says ].
my @wrong = (
	[ 'flip 20', [], 1, 'differs at byte 20: sent 0x.., got 0x..' ],
	[ 'flip 1', [], 1, 'differs at byte 1: sent 0x.., got 0x..' ],
	[ 'flip 20', ['--connect'], 1, 'differs at byte 20: .*' ],
	[ 'flip 100001', ['--stream'], 1, 'differs at byte 100001: .*' ],
	[ 'loses 300000 1', ['--stream'], 1, 'differs at byte 3\d{5}: .*' ],
	[ 'doubles', ['--stream'], 1, 'differs at byte \d+: .*' ],
	[ 'swaps', ['--stream'], 1, 'differs at byte \d+: .*' ],
	[ 'banner', [], 1, 'differs at byte 1: .*|returned .* too many .*' ],
	[ 'twice', [], 1, 'returned 1 byte too many after 1' ],
	[ 'twice', ['--connect'], 1, 'returned 64 bytes too many after 64' ],
	[ 'extra-later', ['--idle=1', '-d1'], 1, 'returned 1 byte too many after .*|' .
	    'differs at byte 2: .*, got 0x21' ],
	map({ [ 'extra-at-eof', $_, 1, 'returned 1 byte too many after \d+' ] }
	    [], ['--stream'], ['--connect']),
	[ 'mute', ['-t100ms'], 5,
	    'timed out: received nothing for 100\.0 ms after 0 of 1 bytes' ],
	[ 'mute', ['-t100ms', '--connect'], 5, 'timed out: .* 0 of 64 bytes' ],
	[ 'never-reads', ['-t100ms'], 5, 'timed out: .* 0 of 1 bytes' ],
	[ 'half', ['-t200ms', '--connect'], 5, 'timed out: .* 32 of 64 bytes' ],
	[ 'answers-at-eof', ['-t100ms'], 5, 'timed out: .* 0 of 1 bytes' ],
	[ 'stops-at-pause', ['-t200ms', '-d1ms', '--idle=1'], 0 ],
	[ 'stays-open', [], 0 ],
	[ 'stays-open', ['-t100ms', '--stream'], 5,
	    'timed out: .* after (\d+) of \1 bytes, and no end of file' ],
	[ 'stays-open', ['-t100ms', '--connect'], 5,
	    'timed out: .* after 64 of 64 bytes, and no end of file' ],
	[ 'closes 30', [], 6, 'closed after 30 of 65 bytes' ],
	[ 'closes 30', ['--connect'], 6, 'closed after 30 of 64 bytes' ],
	[ 'closes 1', [], 6, '(?:closed|failed) after 1 of .*' ],
	[ 'half-closes 30', [], 6, 'closed after 30 of 65 bytes' ],
	[ 'closes-at-once', [], 6, '.*' ],
	[ 'resets 30', [], 6, 'failed after \d+ of 65 bytes: .* reset .*' ],
	[ 'resets-at-once', [], 6, '.*', 'cannot connect to ADDR: .* reset .*' ],
	[ 'resets-at-eof', [], 6, 'failed after (\d+) of \1 bytes: .*' ],
	[ 'homework', [], 6, '(?:closed|failed) after 1 of \d+ bytes.* ' .
	    '\(does it close after one message\? try --connect\)' ],
	[ 'homework', ['--connect', '-s63'], 0 ],
	[ 'one-at-a-time', [], 0 ],
	[ 'one-at-a-time', ['-c2', '-t100ms'], 5,
	    'timed out: .* after 0 of 1 bytes' ]
);
for (@wrong) {
	my ($name, $options, $status, $said, $or) = @$_;
	my $server = start_wrong(split ' ', $name);
	my $r = bench($server, '-d100ms', @$options);
	my $what = "server that $name: @$options";
	if ($status == 0) {
		is "$r->{status} $r->{err}", '0 ', $what;
	} else {
		$said = "ADDR connection \\d+ (?:$said)";
		$said .= "|$or" if $or;
		fails($r, $status, $server, $said, $what);
	}
}

# Two faults that only many connections, or long ones, can show: a server that
# mixes up whose bytes are whose, and one that sends a buffer once more.
my $mixing = <<'END';
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 9) or die;
$| = 1;
print 'listening on 127.0.0.1:', $l->sockport, "\n";
my $all = IO::Select->new($l);
my ($turns, $held, $last) = (0);
while (my @ready = $all->can_read) {
	for my $c (@ready) {
		if ($c == $l) {
			$all->add($l->accept);
			next;
		}
		if (!sysread $c, my $bytes, 65536) {
			$all->remove($c);
			close $c;
		} elsif ($ARGV[0] eq 'crossed' && ++$turns > 20) {
			$held = [$c, $bytes], next unless $held;
			syswrite $c, $held->[1];
			syswrite $held->[0], $bytes;
			undef $held;
		} else {
			$last //= $bytes if length $bytes == 64;
			syswrite $c, ++$turns == 50 ? $last : $bytes;
		}
	}
}
END
for my $fault ('crossed', 'stale') {
	my $server = start_command($^X, '-MIO::Socket::INET', '-MIO::Select',
	    '-e', $mixing, $fault);
	fails(bench($server, '-c2', '-d500ms'), 1, $server,
	    'ADDR connection [12] differs at byte \d+: .*',
	    "a server with a $fault buffer");
}

# Nobody there.
my $closed;
{
	my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
	    or die;
	$closed = '127.0.0.1:' . $l->sockport;
}
my $refused = 'cannot connect to ADDR: Connection refused .*';
fails(bench($closed), 4, $closed, $refused, 'refused');
{
	my $server = start_server('--select', '-q');
	my $r = bench($server, $closed, '-d10');
	fails($r, 4, $closed, $refused, 'the second refused');
	cmp_ok $r->{time}, '<', 5, 'and told before the first is measured';
	fails(bench($server, @{$_->[0]}), 2, undef, $_->[1], "@{$_->[0]}") for
	    [['-s0'], '--size: "0" .* from 1 to .*'],
	    [['-s2G'], '--size: "2G" .*'],
	    [['--stream', '-s100k'], '--size: .* 65536 .*'],
	    [['--stream', '-w2'], '--window .* --stream .*'],
	    [['--connect', '-w2'], '--window .* --connect .*'],
	    [['--pid=1', '--pid=1'], '--pid: given 2 times for 1 address .*'],
	    [['-a', '127.0.0.1'], '--address and ADDRESS .*'],
	    [[(':1') x 64], 'more than 64 addresses .*'];
	$server->stop;
}
SKIP: {
	my $full = full_backlog() or skip 'no full backlog here', 1;
	fails(bench($full->{address}, '-t300ms'), 5, $full->{address},
	    'cannot connect to ADDR: .* timed out', 'no answer to a SYN');
}
{
	# Its queue has room for the connection that sees who is there.
	my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
	    or die;
	listen $l, 0 or die "listen: $!";
	my $address = '127.0.0.1:' . $l->sockport;
	fails(bench($address, '-t300ms'), 5, $address,
	    'cannot connect to ADDR: .* timed out', 'nor to the next one');
}

# So many connections that one source address could not have them all: those
# that we have closed keep their ports for a minute.
{
	my $server = start_server('--select');
	my $n = 0;
	for (my $until = time + $DEADLINE; $n < 2000 && time < $until;) {
		$n = measured($server, '-d300ms', '-c20', '--connect')
		    ->{messages};
	}
	my %hosts = map { $_ => 1 } $server->log =~ /^(\S+):\d+ connected/mg;
	cmp_ok scalar(keys %hosts), '>', 1, 'from more than one address';
	$server->stop;
}

# A server that dies in the middle, of each mode: it is killed when so many
# connections are there, one of which was to see who is there.
for (['-c3', 4], ['--stream', 2], ['--connect', 20]) {
	my ($option, $n) = @$_;
	my $server = start_server('--select');
	my $killer = spawn(sub {
		$server->wait_log('connected', $n);
		$server->signal('KILL');
	});
	my $r = bench($server, $option, '-d20s');
	waitpid $killer, 0;
	ok $r->{status} == 6 || $r->{status} == 4, "$option: the server dies";
	like $r->{err}, qr/\Aecho bench: [^\n]+\n\z/, 'in one line';
	cmp_ok $r->{time}, '<', 15, 'at once';
	is $server->wait, 9, 'it was killed';
}

# Ctrl-C. Starts one whose output the test reads as it comes.
sub begin {
	my @args = @_;
	pipe my $out, my $its or die $!;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		alarm 30;
		open STDOUT, '>&', $its;
		open STDERR, '>', "$tmp/err";
		exec program('echo'), 'bench', @args or POSIX::_exit(127);
	}
	return ($pid, $out);
}

sub end_of {
	my ($pid) = @_;
	waitpid $pid, 0;
	return WIFEXITED($?) ? WEXITSTATUS($?) : 'signal ' . ($? & 127);
}

{
	my $server = start_server('--select');
	my ($pid, $out) = begin($server->address, '--rounds=900', '-d100ms',
	    '--json');
	my $line = readline $out;
	my $start = time;
	kill INT => $pid;
	$line .= join '', readline $out;
	is end_of($pid), 0, 'interrupted: still a success';
	cmp_ok time - $start, '<', 5, 'at once';
	is scalar(objects({ status => 0, err => slurp("$tmp/err"),
	    out => $line })) > 0, 1, 'with what was measured';

	($pid, $out) = begin($server->address, '--rounds=900', '-d100ms',
	    '-v');
	for (my $until = time + $DEADLINE; time < $until; sleep 0.005) {
		last if slurp("$tmp/err") =~ /round 3:/;
	}
	kill INT => $pid;
	my @rows = grep { /^  / } readline $out;
	is end_of($pid), 0, 'interrupted: for people as well';
	is scalar(@rows), 7, 'all figures of the rounds that were' or
	    diag @rows;

	$server->wait_log('connected', 1);
	my $before = () = $server->log =~ /connected/g;
	($pid, $out) = begin($server->address, '-d1m');
	$server->wait_log('connected', $before + 2);
	kill INT => $pid;
	is end_of($pid), 1, 'interrupted before anything was measured';
	is slurp("$tmp/err"), "echo bench: interrupted before anything was " .
	    "measured\n", 'which it says';
	$server->stop;

	# Asked to end, it waits for what a server owes; asked again, it ends.
	$server = start_wrong('mute');
	($pid) = begin($server->address, '-t25s');
	my ($gone, $caught);
	for (my $until = time + 10; time < $until && !$gone; sleep 0.02) {
		$caught ||= slurp("/proc/$pid/status") =~
		    /^SigCgt:\s*[0-9a-f]+[2367abef]$/m;
		kill INT => $pid if $caught;
		$gone = waitpid $pid, WNOHANG;
	}
	is $gone ? $? & 127 : 'not', 2, 'interrupted twice' or do {
		kill KILL => $pid;
		waitpid $pid, 0;
	};
}

done_testing;
