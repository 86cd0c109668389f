# Tests of check --udp: it passes every correct UDP server, and of each wrong
# one it fails exactly the tests that are about the fault, with the sentence
# that names it. A server that loses datagrams passes with a comment.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use CheckRun;
use DatagramServers;
use EchoTest;
use Test::More;

my %profile;
my @tests;
subtest '--list' => sub {
	my $list = check('udp::1', '--list');
	is $list->{status}, 0, 'exit status';
	is check(':1', '-u', '--list')->{out}, $list->{out}, '--udp';
	for (split /\n/, $list->{out}) {
		like $_, qr/^udp-[\w-]+ +(homework|rfc862|robust) +\S.*$/,
		    'name, profile and purpose';
		my ($name, $profile) = split;
		$profile{$name} = $profile;
		push @tests, $name;
	}
};
# Tests that may be skipped, without privileges or without a second address, are
# left out here and tested below.
my %may_skip = map { $_ => 1 }
    qw(udp-address udp-own-port udp-broadcast udp-low-port);
my @all = grep { !$may_skip{$_} } @tests;

# A case for run_cases that runs only these tests.
sub case {
	my ($name, $start, $tests, %case) = @_;
	return { name => $name, start => $start, stop => sub { }, fails => [],
	    args => [ '--only=' . join ',', @$tests ], tests => $tests,
	    timeout => 2, %case };
}

my @cases;
for my $engine (engines_but('--uring')) {
	push @cases, case($engine, sub { start_server($engine, '-q', '-a',
	    'udp:127.0.0.1') }, \@all, stop => sub { $_[0]->stop });
}
for my $name (right_datagrams()) {
	push @cases, case("$name server", sub { start_datagrams($name) },
	    \@all);
}
my @python = python();
push @cases, case('a server in Python', sub {
	start_command(@python, '-c', <<'END') }, \@all)
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print("listening on udp:127.0.0.1:%d" % s.getsockname()[1])
while True:
    data, client = s.recvfrom(65536)
    s.sendto(data, client)
END
    if @python;

my $address = qr/udp:127\.0\.0\.\d:\d+/;

# Wrong servers: arguments of start_datagrams, the tests that fail, and patterns
# for messages by test. More of the case may follow.
my @wrong = (
	[ [ 'cut', 2048 ], [ qw(udp-9000 udp-65507) ], { 'udp-9000' =>
	    qr/^2048 of 9000 bytes .*: the server truncates .* at 2048 bytes$/
	    } ],
	[ [ 'cut', 8192 ], [ qw(udp-9000 udp-65507) ], { 'udp-65507' =>
	    qr/^8192 of 65507 .*: the server truncates .* at 8192 bytes$/ } ],
	[ [ 'splits', 8192 ], [ qw(udp-9000 udp-65507) ], { 'udp-9000' =>
	    qr/and then another datagram: the server splits .* 8192 bytes$/ } ],
	[ [ 'refuses-long', 8192 ], [ qw(udp-9000 udp-65507) ], { 'udp-9000' =>
	    qr/^9000 bytes are not answered .* answered has 8192 bytes$/ } ],
	[ [ 'drops-empty' ], [ 'udp-empty' ], { 'udp-empty' =>
	    qr/^an empty datagram is not answered \(12 tries\)$/ } ],
	[ [ 'stops-at-empty' ], [ 'udp-empty' ], { 'udp-empty' =>
	    qr/^an empty datagram is not answered, and no other .* after it/
	    } ],
	[ [ 'other-port' ], \@all, { 'udp-empty' =>
	    qr/^the reply came from $address, but .* was sent to $address$/ } ],
	[ [ 'twice' ], \@all, { 'udp-1' =>
	    qr/^the same datagram came back more than once$/ } ],
	# If the server was late, it also joins two tries of a datagram.
	[ [ 'joins' ], [ qw(udp-boundaries udp-window) ], { 'udp-window' =>
	    qr/^one datagram of 128 bytes came back for two of 64 and 64 / },
	    may_fail => { map { $_ => 1 } grep { !/window|boundaries/ } @all }
	    ],
	[ [ 'changes', 40 ], [ grep { !/^udp-(?:16|17|1|utf8|empty)$/ }
	    @all ], { 'udp-1472' =>
	    qr/^one byte changed: 0x\w\w became 0x\w\w at offset 40$/ } ],
	[ [ 'upper' ], [ grep { !/^udp-(?:1|empty)$/ } @all ],
	    { 'udp-1472' => qr/^lower case became upper case$/ },
	    tests => [ grep { $_ ne 'udp-1' } @all ],
	    args => [ '--only=' . join ',', grep { $_ ne 'udp-1' } @all ] ],
	[ [ 'first-client' ], \@all, { 'udp-1' =>
	    qr/^only the first client is answered$/,
	    'udp-16' => qr/^not tried: the server did not answer udp-1$/ } ],
	[ [ 'first-ports', 100 ], [ qw(udp-ports udp-empty) ], { 'udp-ports' =>
	    qr/^the first client is still answered, but no new .* 50 ports\)$/
	    } ],
	[ [ 'wrong-client' ], [ qw(udp-clients udp-ports) ], { 'udp-clients' =>
	    qr/^a client received the datagram of another client$/ } ],
	# A busy system may send an ICMP error late, or not at all.
	[ [ 'dies-of-icmp' ], [ qw(udp-closed udp-ports udp-empty) ],
	    { 'udp-closed' =>
	    qr/^the server answers no datagram any more after ICMP port / },
	    timed => { 'udp-closed' => 1 } ],
);
for (@wrong) {
	my ($how, $fails, $says, %more) = @$_;
	push @cases, case("server: @$how", sub { start_datagrams(@$how) },
	    \@all, fails => $fails, says => $says, %more);
}
run_cases(@cases);

# Runs check, and returns its TAP with the comments. Its tests pass.
sub passes {
	my ($server, @args) = @_;
	my $run = check($server, '--timeout=2', @args);
	my $tap = parse_tap($run);
	is $run->{status}, 0, 'exit status';
	is "@{ $tap->{failed} }", '', 'no test fails';
	$tap->{comments} = join "\n", $run->{out} =~ /^# (.*)$/mg;
	return $tap;
}

# Runs one test until it fails, and returns its message.
sub message_of {
	my ($server, $test, @args) = @_;
	return parse_tap(check($server, '--timeout=2', "--only=$test", @args))
	    ->{yaml}{$test}{message} // 'none';
}

subtest 'a server that loses a third of the datagrams' => sub {
	my $server = start_command(program(), 'faulty', '-u', '-q', '-p0',
	    '--seed=1', 'lose=33');
	my $got = passes($server, '--skip=udp-ports');
	like $got->{comments}, qr/^udp-window: \d+ of \d+ datagrams were lost/m,
	    'the loss is reported';
	unlike $got->{comments}, qr/bursts/, 'and no bursts';
};

subtest 'a server that loses bursts' => sub {
	my $server = start_datagrams('loses-bursts');
	ok measure_again(sub {
		my $run = check($server, '--only=udp-window');
		return $run->{out} =~ /^ok.*^[#]\ udp-window:\ \d+\ of\ 50
		    \ datagrams\ sent\ at\ once\ were\ answered,\ and\ all
		    \ of\ 50\ sent\ one\ at\ a\ time:\ bursts\ are\ lost$
		    /msx;
	}, sub { $_[0] }), 'a comment';
};

subtest 'servers at every address' => sub {
	my $server = start_server({ listeners => 2 }, usual_engine(), '-q', '-a',
	    'udp:*');
	my $port = $server->port;
	my $got = passes("udp:127.0.0.1:$port", '--profile=robust');
	ok grep({ $_ eq 'udp-address' } @{ $got->{passed} }),
	    'ours answers from a second address';
	passes("udp:[::1]:$port", '--profile=robust');
	$server->stop;
	return if !system_has('linux');		# its 127.0.0.2 is the same host
	my $any = start_datagrams('any');
	like message_of($any, 'udp-address'), qr/^the\ reply\ came\ from\ udp:
	    127\.0\.0\.1:\d+,\ but\ .*\ sent\ to\ udp:127\.0\.0\.2:\d+$/x,
	    'another does not';
	like message_of($any, 'udp-broadcast'),
	    qr/^a datagram to the broadcast address udp:127\.255\.255\.255:/,
	    'and it answers a broadcast';
};

subtest 'the own port, and low ports' => sub {
	my $server = start_datagrams('answers-own-port');
	like message_of($server, 'udp-own-port'),
	    qr/own, is answered: two such servers .* \(CVE-1999-0103\)$/,
	    'own port' if system_has('linux');
	my $got = passes($server, '--only=udp-low-port');
	like(($got->{reason}{'udp-low-port'} // '') . $got->{comments},
	    qr/below 1024: |from port \d+ is answered: .* \(CVE-2024-2169\)$/m,
	    'a comment, or why it is skipped');
};

my $serve = 'exec ' . $^X . ' ' . in_tree('t/lib/DatagramServers.pm');
subtest '--start' => sub {
	my $run = check('-u', '--start',
	    "DATAGRAM_PORT={port} $serve blocking");
	is $run->{status}, 0, 'a server that check starts' or diag $run->{out};
	$run = check('-u', '--start', "DATAGRAM_PORT={port} $serve dies 3",
	    '--only=udp-16,udp-17,udp-1472');
	my $tap = parse_tap($run);
	ok @{ $tap->{failed} } < 3, 'it is started again after a crash';
	like $tap->{yaml}{ $tap->{failed}[0] }{message},
	    qr/the server ended with exit status 3/, 'the crash is reported';
	$run = check('-u', '--start', 'echo no; exit 4');
	is $run->{status}, 1, 'a server that does not start';
	like $run->{out}, qr/^Bail out! .* 4 before it answered a datagram$/m,
	    'the reason';
};

subtest '--direct' => sub {
	my ($right, $wrong) = map { start_datagrams(@$_) } ['blocking'],
	    ['cut', 100];
	like message_of($wrong, 'udp-1472', '--direct=' . $right->address),
	    qr/at 100 bytes; correct at $address, so the fault is in between$/,
	    'which side fails';
};

subtest 'no server, and wrong options' => sub {
	my ($socket, $address_without) = closed_port();
	my $run = check("udp:$address_without", '--timeout=500ms');
	# Only Linux reports ICMP errors to a socket that is not connected.
	my ($status, $reason) = system_has('linux') ?
	    (4, qr/cannot connect to udp:127.*refused/) :
	    (5, qr/udp:127.* has answered no datagram/);
	is $run->{status}, $status, 'nothing listens there';
	like $run->{out}, qr/^Bail out! $reason/m, 'the reason';
	my $mute = start_datagrams('loses', 100);
	$run = check($mute, '--timeout=300ms');
	is $run->{status}, 5, 'no answer';
	like $run->{out}, qr/^Bail out! $address has answered no datagram /m,
	    'the reason';
	for ([ '--only=bytes-1', 'udp::1' ], [ '--skip=udp-1', ':1' ],
	    [ '--client=true', '-u' ], [ '--direct=tcp:x', 'udp::1' ],
	    [ '-u', 'unix:/x' ]) {
		is run_echo('check', @$_)->{status}, 2, "@$_";
	}
};

done_testing;
