# Faults that the system has but seldom, from a library that is preloaded
# (t/shim.c): start-up calls that fail, an accept that fails, reads and writes
# that come short or not at all.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use IO::Select ();
use Schedule;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'nothing can be preloaded here' unless
    run_echo({ wrap => shimmed('fail=1') }, 'send', '-p1', 'x')->{err} =~
    /^shim: /m;

my @ways = map { [split] } engines();

# Every call that start-up makes fails once: either that is said in one line
# and is the end, or the server does without, and serves.
sub start_with_failure {
	my ($n, @way) = @_;
	my $server = start_server({ wrap => shimmed("fail=$n"), no_wait => 1 },
	    @way);
	my $said = readline($server->{out}) // '';
	my ($call) = $server->log =~ /^shim: fails: (\w+)$/m;
	my $what = "@way: call $n fails" . ($call ? ": $call" : '');
	if ($said =~ /^listening on (127\.0\.0\.1:\d+)$/) {
		$server->{address} = $1;
		my $back = eval { exchange(dial($server), 'alive', undef,
		    half_close => 1) } // $@;
		$server->signal('TERM');
		my $status = $server->wait // 'none';
		($call) = $server->log =~ /^shim: fails: (\w+)$/m;
		return $call if $back eq 'alive' && $status eq 0;
		# A worker that cannot go on, when the others may have begun.
		my @lines = $server->log =~ /^(echo serve: .*)$/mg;
		return $call if @way > 1 && $status eq 7 << 8 && @lines == 1;
		fail "$what, but it listens";
		diag show($back), "\nwait status $status\n", $server->log;
		return $call;
	}
	my $status = $server->wait // 'none';
	# Whoever is left of it would hold its end of the pipe.
	my $gone = IO::Select->new($server->{out})->can_read(2);
	my @lines = grep { !/^shim: / } split /\n/, $server->log;
	ok $said eq '' && $gone && $status == 7 << 8 && @lines == 1 &&
	    $lines[0] =~ /^echo serve: [\x20-\x7e]+$/, $what or
	    diag "$said", "wait status $status\n", $server->log;
	return $call;
}

for my $way (@ways) {
	my $n = 1;
	my %failed;
	while (my $call = start_with_failure($n, @$way)) {
		$failed{$call}++;
		last if ++$n > 2000;
	}
	my @needed = qw(socket bind listen);
	is scalar(grep { $failed{$_} } @needed), @needed,
	    "@$way: each call of start-up, " . ($n - 1) . ' in all: ' .
	    join ', ', map { "$_ $failed{$_}" } sort keys %failed;
}

# accept(2) fails for a while, for any reason that it documents as transient:
# the server says so seldom, rests, and goes on. (Out of descriptors it may
# turn one away.)
my @of_connection = qw(ECONNABORTED EPROTO ENETDOWN EINTR);
my @of_system = qw(EMFILE ENFILE ENOMEM ENOBUFS EPERM);

sub start_without_accept {
	my ($fault, @way) = @_;
	my $server = start_server({ wrap => shimmed("accept=$fault") }, @way);
	$server->allow(qr/^echo serve: cannot accept, pausing: /);
	return { name => "@way: accept fails, $fault", server => $server };
}

sub serves_within {
	my ($server, $seconds) = @_;
	for (my $until = time + $seconds; time < $until;) {
		my $sock = dial($server);
		return 1 if exchange($sock, 'on', 2,
		    deadline => $until - time) eq 'on';
	}
	return 0;
}

{
	my @cases = map { my $way = $_; map { start_without_accept("$_:3",
	    @$way) } @of_connection, @of_system } @ways;
	dial($_->{server}) for @cases;
	for (@cases) {
		ok serves_within($_->{server}, $DEADLINE),
		    "$_->{name} times: and then it serves";
		$_->{server}->stop;
	}
}
{
	my @cases = map { my $way = $_; map { start_without_accept($_, @$way)
	    } @of_system } @ways;
	my @waiting = map { dial($_->{server}) } @cases;
	$_->{server}->wait_log(qr/cannot accept/) for @cases;
	my $start = time;
	my $warnings = sub { scalar(() = $_[0]->log =~ /cannot accept/g) };
	for (@cases) {
		$_->{cpu} = $_->{server}->cpu;
		$_->{warnings} = $warnings->($_->{server});
	}
	sleep 2;
	for (@cases) {
		my $server = $_->{server};
		cmp_ok $server->cpu - $_->{cpu}, '<=', 0.04 + 0.02,
		    "$_->{name}: it does not spin";
		cmp_ok $warnings->($server) - $_->{warnings}, '<=',
		    1 + time - $start, "$_->{name}: nor fill the log";
		$server->stop;
	}
}

# A kernel without IPv6.
for my $way (@ways) {
	my $server = start_server({ wrap => shimmed('noipv6') }, @$way, '-a',
	    '*');
	is exchange(dial('127.0.0.1:' . $server->port), 'v4', 2), 'v4',
	    "@$way: no IPv6: all interfaces";
	$server->stop;
	my $run = run_echo({ wrap => shimmed('noipv6'), deadline => 10 },
	    'serve', @$way, '-a', '[::1]:0');
	is $run->{status}, 7, "@$way: no IPv6: exit 7";
	like $run->{err}, qr/\Aecho serve: [^\n]*\[::1\][^\n]*\n\z/,
	    "@$way: with one line";
}

# Reads and writes that come short, fail for the moment, or were announced for
# nothing: not a byte is lost. make torture tries thousands of seeds.
for my $way (@ways) {
	for my $block (0 .. 5) {
		my ($well, $why) = schedules($block * BLOCK, 16, @$way);
		ok !$why, "@$way: seeds from " . $block * BLOCK or
		    diag 'seed ', $block * BLOCK + $well, ": $why",
		    "t/torture @$way ", $block * BLOCK + $well, ' 4';
	}
}

# The same for the client.
{
	my $server = start_server('--select', '-q');
	my $message = pattern(50000);
	for my $seed (1 .. 20) {
		my $run = run_echo({ in => $message,
		    wrap => shimmed("seed=$seed") }, 'send', '-a',
		    $server->address);
		ok $run->{status} == 0 && $run->{out} eq $message &&
		    $run->{err} =~ /identical/, "echo send: seed $seed" or
		    diag "exit status $run->{status}\n$run->{err}";
	}
	$server->stop;
}

done_testing;
