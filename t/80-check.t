# Tests of the mode check: it passes every correct server, and for each wrong
# server it fails exactly the tests that are about the fault, with a message
# that names the likely mistake.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use CheckRun;
use EchoTest;
use File::Temp ();
use IO::Socket::INET ();
use Test::More;
use Time::HiRes qw(sleep);
use WrongServers;

my $TIMEOUT = 2;		# seconds, for servers that do not answer

# The tests by profile, as check itself lists them.
my %profile;
my @tests;
subtest '--list' => sub {
	my $list = check(':1', '--list');
	is $list->{status}, 0, 'exit status';
	for (split /\n/, $list->{out}) {
		like $_, qr/^[\w-]+ +(homework|rfc862|robust) +\S.*$/,
		    'name, profile and purpose';
		my ($name, $profile) = split;
		ok !$profile{$name}, "$name is listed once";
		$profile{$name} = $profile;
		push @tests, $name;
	}
};
my @homework = grep { $profile{$_} eq 'homework' } @tests;
my @rfc862 = grep { $profile{$_} ne 'robust' } @tests;
my %tests_of = (homework => \@homework, rfc862 => \@rfc862,
    robust => \@tests);

# All tests except these.
sub all_but {
	my %left_out = map { $_ => 1 } @_;
	$profile{$_} or die "no test $_" for @_;
	return grep { !$left_out{$_} } @tests;
}

# The case of a correct server.
sub correct_server {
	my ($profile, %case) = @_;
	return { name => "$case{server}: $profile", timeout => undef,
	    args => [ "--profile=$profile" ], tests => $tests_of{$profile},
	    fails => [], %case };
}

# Each profile contains the one before.
my @cases;
for my $engine (engines()) {
	push @cases, correct_server($_, server => $engine, seconds => 10,
	    start => sub { start_server($engine) },
	    stop => sub { $_[0]->stop }) for $engine eq '--blocking' ?
	    'homework' : $engine eq '--select' ? qw(rfc862 robust) : 'robust';
}
my %arguments = ('starts-slowly' => 0.2);	# seconds
for my $name (right_servers()) {
	push @cases, correct_server('homework', server => "server that $name",
	    start => sub { start_wrong($name, $arguments{$name} // ()) },
	    stop => sub { is $_[0]->log, '', 'no error in the server' });
}

# Wrong servers: the arguments of start_wrong, the tests that fail (with a
# question mark: tests that may fail, depending on the kernel's buffers), and
# patterns for messages: for the first failed test, or by name. Options may
# follow: only (the tests to run), more (arguments of check), and the options of
# a case (see CheckRun).
my @stream = all_but(@homework, qw(no-banner empty));
my @bulk = qw(bytes-65536 bytes-1M fin-1M write-first no-stall odd-pieces
    bytes-64M);
my @megabytes = grep { $_ ne 'bytes-65536' } @bulk;
my @ends = qw(fin fin-1M empty fin-100 bytes-64M);
my @wrong = (
	[ [ 'plain' ], [] ],
	[ [ 'flip', 11 ], [ all_but(qw(bytes-1 no-banner empty)) ],
	    { 'every-byte' =>
	    qr/^one byte changed: 0x0a became 0x09 at offset 10$/ } ],
	[ [ 'flip', 70_001 ], \@megabytes,
	    qr/^one byte changed: 0x\w\w became 0x\w\w at offset 70000$/ ],
	[ [ 'flip', 40_000_001 ], [ 'bytes-64M' ], qr/at offset 40000000$/ ],
	[ [ 'twice' ], [ all_but(qw(no-banner empty)) ],
	    { 'bytes-1' => qr/^the whole message came twice$/,
	    'two-bursts' => qr/^70 bytes were doubled at offset 0$/ } ],
	[ [ 'upper' ], [ all_but(qw(no-banner empty)) ],
	    qr/^lower case became upper case$/ ],
	[ [ 'banner' ], \@tests, { 'bytes-1' =>
	    qr/^the same 11 bytes came before the echo of two messages$/,
	    'no-banner' => qr/^11 bytes came before the client had sent any$/ },
	    timed => { 'no-banner' => 1 } ],
	[ [ 'one-recv', 100 ], \@stream,
	    qr/^reset .* after 100 of 256 bytes: calls recv once .* at most 100 bytes$/
	    ],
	[ [ 'one-recv', 4096 ], [ all_but(@homework, qw(no-banner every-byte
	    bytes-4096 fin empty one-by-one second-client resets)) ],
	    qr/^ended .* after 1 of 65537 bytes: calls recv once .* at most 4096 bytes$/ ],
	[ [ 'lines' ], [ all_but(qw(line no-banner fin fin-1M empty fin-100
	    bytes-64M)) ], qr/^answered only after a newline: answers only comp/,
	    seconds => 11 * $TIMEOUT ],
	# The answer to the newline is not taken for an answer to later bytes.
	[ [ 'lines', 0.6 ], [ 'bytes-1' ], qr/^answered only after a newline: /,
	    only => [ 'bytes-1' ] ],
	[ [ 'ascii' ], [ qw(utf8 utf8-split every-byte) ],
	    qr/^bytes above 127 were dropped$/ ],
	[ [ 'utf8' ], [ 'every-byte' ], qr/: the server decodes text$/ ],
	[ [ 'strip' ], [ 'line' ], qr/^white space at the end was stripped$/ ],
	[ [ 'nul' ], [ 'every-byte' ], qr/^a NUL byte was dropped/ ],
	[ [ 'c-string' ], [ 'every-byte' ],
	    qr/^the bytes from a NUL byte on were dropped/ ],
	[ [ 'crlf' ], [ qw(line every-byte) ],
	    qr/^a CR was inserted before a newline/ ],
	[ [ 'loses', 4096, 16 ], [ qw(bytes-65536 bytes-1M fin-1M fin-100
	    50-at-once write-first no-stall odd-pieces bytes-64M) ],
	    qr/^16 bytes were lost at offset 4096$/ ],
	[ [ 'doubles' ], \@bulk, { 'bytes-1M' =>
	    qr/^65536 bytes were doubled at offset 1$/ } ],
	[ [ 'swaps' ], \@bulk, { 'bytes-1M' =>
	    qr/^blocks of 32768 and 32768 bytes were swapped at offset 1$/ } ],
	[ [ 'reverses' ], \@bulk, { 'bytes-1M' =>
	    qr/^a block of 65536 bytes came back in reverse order at / } ],
	[ [ 'forgets-at-eof' ], [ qw(fin fin-1M fin-100 bytes-64M) ],
	    qr/: the server, or a proxy in between, drops pending output at /,
	    timed => { map { $_ => 1 } @ends } ],
	[ [ 'stays-open' ], \@ends, qr/^did not close after the client's end/ ],
	[ [ 'resets-at-eof' ], \@ends,
	    qr/^reset the connection instead of closing it$/ ],
	[ [ 'mute' ], [ all_but('no-banner') ],
	    { 'bytes-1' => qr/^did not answer, not even after .* end of file$/,
	    'bytes-13' => qr/^not tried: .*did not answer bytes-1$/ },
	    seconds => 11 * $TIMEOUT ],
	[ [ 'never-reads' ], [ all_but('no-banner') ], qr/^did not answer,/,
	    seconds => 11 * $TIMEOUT ],
	[ [ 'answers-at-eof' ], [ all_but(qw(no-banner fin fin-1M empty fin-100
	    bytes-64M)) ], qr/^answered only after the client's end of file: / ],
	[ [ 'closes-at-once' ], [ all_but('empty') ], qr/without an answer$/ ],
	[ [ 'one-at-a-time' ], [ qw(second-client 50-at-once no-stall) ],
	    qr/ was silent: serves one client at a time$/ ],
	[ [ 'one-client-only' ], \@tests, { 'bytes-1' =>
	    qr/has accepted no connection since: it serves one client only$/,
	    'no-banner' => qr/^not tried: .* a connection since bytes-1$/ } ],
	[ [ 'stops-at-pause' ], [ 'two-bursts' ], qr/ after a pause$/ ],
	[ [ 'blocking-write' ], [ 'no-stall' ], qr/ not read: waits until each client reads$/ ],
	[ [ 'short-write' ], [ qw(write-first no-stall bytes-1M? fin-1M?
	    odd-pieces? bytes-64M?) ], { 'write-first' => qr/lost/ } ],
	[ [ 'extra' ], [ all_but(qw(no-banner empty)) ],
	    qr/^1 surplus byte came after the message$/ ],

	# Sends 52 bytes, one every 0.1 s, so that no byte is late. A
	# conversation takes at most 12 timeouts.
	[ [ 'byte-by-byte', 0.1 ], [ 'bytes-52' ], undef,
	    only => [ 'bytes-52' ], timeout => undef, more => [ '-t200ms' ] ],
	# After one timeout, later tests wait less.
	[ [ 'stops-accepting' ], [ @homework[1 .. 11] ],
	    system_has('linux') ?
	    qr/^cannot connect: timed out while .* waited .*\(backlog\)$/ :
	    qr/^cannot connect: timed out, although earlier .* accepted$/,
	    only => \@homework,
	    seconds => 5 * $TIMEOUT ],
	[ [ 'half' ], [ @homework[1 .. 11] ],
	    qr/^lost the rest after 6 of 13 bytes$/,
	    only => [ @homework[1 .. 11] ], seconds => 20 * $TIMEOUT ],
	# If the server does not answer other messages, either, no other test
	# is tried.
	[ [ 'answers-first' ], [ @homework[1 .. 11] ],
	    { 'bytes-13' => qr/^did not answer, not even after /,
	    'bytes-15' => qr/^not tried: .* did not answer bytes-13$/ },
	    only => \@homework ],
	# After one timeout, bytes-64M still has 2 s, and not only 0.2 s.
	[ [ 'collects-bulk', 1 ], [ 'odd-pieces' ], undef,
	    only => [ qw(bytes-1 odd-pieces bytes-64M) ], timeout => undef,
	    more => [ '-t2s' ] ],
	# A second client waits for at most 1 s.
	[ [ 'starts-slowly', 1.5 ], [ 'second-client' ], undef,
	    only => [ 'second-client' ], timeout => undef, more => [ '-t5s' ] ],
	# The last byte and the FIN are sent in one segment.
	[ [ 'needs-fin-with-data' ], [], undef, only => [ qw(fin fin-100) ] ]
);

for (@wrong) {
	my ($start, $fails, $says, %options) = @$_;
	my %may_fail = map { /^(.*)\?$/ ? ($1 => 1) : () } @$fails;
	my @fails = grep { !/\?$/ } @$fails;
	# A server in Perl needs a long time for 64 MiB. A few servers that
	# return 64 MiB are enough.
	my $only = $options{only} // ($start->[0] =~ /^(?:plain|stays-open)$/ ||
	    "@fails" eq 'bytes-64M' ? \@tests : [ all_but('bytes-64M') ]);
	@fails = grep { "@$only" =~ /\b\Q$_\E\b/ } @fails;
	push @cases, { name => "server that @$start", timeout => $TIMEOUT,
	    start => sub { start_wrong(@$start) },
	    stop => sub { is $_[0]->log, '', 'no error in the server' },
	    args => [ '--only=' . join(',', @$only),
	    @{ $options{more} // [] } ],
	    tests => $only, fails => \@fails, may_fail => \%may_fail,
	    says => !$says ? {} : ref $says eq 'HASH' ? $says :
	    { $fails[0] => $says }, %options };
}

run_cases(@cases);

subtest 'YAML below a failed test' => sub {
	my $server = start_wrong('flip', 11);
	my $run = check($server, '--only=bytes-13');
	my $yaml = parse_tap($run)->{yaml}{'bytes-13'};
	is_deeply [ sort keys %$yaml ],
	    [ qw(after ended expected got message offset sent) ], 'keys';
	is $yaml->{sent}, '13 of 13 bytes, then end of file', 'sent';
	is $yaml->{expected}, 'cdefghijklm', 'expected';
	is $yaml->{got}, 'cdefghijhlm', 'got';
	is $yaml->{offset}, 10, 'offset';
	like $yaml->{after}, qr/^\d+\.\d m?s$/, 'after';
	like $run->{out}, qr/^# \S+: 1 of 1 test failed$/m, 'the last line';

	$server = start_wrong('crlf');
	$run = check($server, '--only=every-byte');
	like $run->{out}, qr/^  got: "[^"]*\\x09\\x0d\\x0a[^"]*"$/m,
	    'control bytes are escaped';
};

my $server = start_server('--select');
my $address = $server->address;

subtest 'selection of tests' => sub {
	is_result(check($server), \@rfc862, [], 'rfc862 is the default');
	is_result(check($server, '--only=line,bytes-64M', '--only', 'bytes-1'),
	    [ qw(bytes-1 line bytes-64M) ], [],
	    '--only: tests of all profiles, in the order of the list');
	my $tap = parse_tap(check($server, '--profile=homework',
	    '--skip=utf8,line', '--skip=again'));
	is "@{ $tap->{skipped} }", 'utf8 line again', '--skip';
	is $tap->{plan}, scalar @homework, '--skip: the plan counts them';
	like $tap->{reason}{utf8}, qr/--skip/, '--skip: the reason';
};

subtest 'address and verbosity' => sub {
	my $port = $server->port;
	my ($only, @results) = ('--only=bytes-1', [ 'bytes-1' ], []);
	is_result(run_echo('check', $only, @$_), @results, "address: @$_")
	    for [ $address ], [ "localhost:$port" ], [ ":$port" ],
	    [ '-p', $port ], [ '127.0.0.1', "--port=$port" ],
	    [ '-a', $address ], [ "--address=$address" ];
	is_result(run_echo({ program => 'echo_check' }, $only, $address),
	    @results, 'echo_check');
	like check($server, $only, '-v')->{err}, qr/\Abytes-1 took \S+ m?s\n\z/,
	    '-v prints the duration';
	is_result(check($server, $only, '-q'), @results,
	    '-q prints nothing on stderr');
};

subtest 'fewer descriptors than a test needs' => sub {
	my @few = ('sh', '-c', 'ulimit -n 20 && exec "$@"', 'sh');
	my $tap = parse_tap(check({ wrap => \@few }, $server,
	    '--only=50-at-once,second-client'));
	is "@{ $tap->{passed} }", 'second-client', 'passed';
	is "@{ $tap->{skipped} }", '50-at-once', 'skipped';
	like $tap->{reason}{'50-at-once'}, qr/open files/, 'reason';
};

# Runs check under prove.
sub prove {
	my ($address) = @_;
	my $program = program();
	return run_echo({ command => $^X }, '-MApp::Prove', '-e',
	    'my $p = App::Prove->new; $p->process_args(@ARGV); ' .
	    'exit($p->run ? 0 : 1)', '--', '--norc', '-e',
	    "$program check --profile=homework", $address);
}

subtest 'prove' => sub {
	my $run = prove($address);
	is $run->{status}, 0, 'correct server: exit status';
	my $n = @homework;
	like $run->{out}, qr/^Files=1, Tests=$n,.*^Result: PASS$/ms,
	    'correct server: output';
	my $wrong = start_wrong('crlf');
	$run = prove($wrong->address);
	is $run->{status}, 1, 'wrong server: exit status';
	like $run->{out}, qr/Failed test: +10\n.*^Result: FAIL$/ms,
	    'wrong server: output';
};

subtest 'standard output that cannot be written' => sub {
	plan skip_all => 'no /dev/full' unless -c '/dev/full';
	for my $args ([], [ '--list' ]) {
		my $run = run_echo({ out => '/dev/full' }, 'check', @$args,
		    $address);
		is $run->{status}, 7, "exit status @$args";
		like $run->{err}, qr/\Aecho check: cannot write [^\n]+\n\z/,
		    "stderr @$args";
	}
};
$server->stop;

# The two Python servers of the README: the wrong one, and its correction.
subtest 'servers of the README' => sub {
	my @python = python() or plan skip_all => 'no python3';
	my ($code, $fixed) = slurp(in_tree('README')) =~
	    /^```python\n(.*?)^```$/gms;
	my ($wrong, $right) = ($code, $code);
	# The correction replaces the last lines of the server.
	my ($from) = $code =~ /^(        data = .*)\z/ms;
	substr $right, index($right, $from), length $from, $fixed;
	for ([ 'wrong', $wrong, [ 'bytes-4096', 'two-bursts' ] ],
	    [ 'correct', $right, [] ]) {
		my ($name, $source, $fails) = @$_;
		$source =~ s/, 10000\)\)$/, 0))
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)/m
		    or die 'no server in the README';
		my $python = start_command(@python, '-c', $source);
		my @only = qw(line bytes-4096 two-bursts);
		is_result(check($python, '--only=' . join ',', @only), \@only,
		    $fails, "the $name server");
	}
};

# Asserts that check runs no test and explains why on stdout and stderr.
sub bails_out {
	my ($to, $status, $why, @args) = @_;
	my $run = check(ref $args[0] ? shift @args : {}, $to, @args);
	my $tap = parse_tap($run);
	subtest "no connection: $why" => sub {
		is $run->{status}, $status, 'exit status';
		is $tap->{plan}, scalar @rfc862, 'plan';
		like $tap->{bailout}, $why, 'Bail out!';
		is $run->{err}, "echo check: $tap->{bailout}\n", 'stderr';
	};
}
{
	my $free = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
	    LocalPort => 0, Proto => 'tcp') or die $@;	# does not listen
	my $port = $free->sockport;
	local $ENV{RES_OPTIONS} = 'timeout:1 attempts:1';
	bails_out("127.0.0.1:$port", 4,
	    qr/cannot connect to 127\.0\.0\.1:$port: Connection refused/);
	bails_out('nosuch.invalid', 3, qr/cannot resolve "nosuch\.invalid": /);
	my $full = full_backlog();
	SKIP: {
		skip 'the backlog cannot be filled here', 1 if !$full;
		bails_out($full->{address}, 5, qr/timed out/, '-t300ms');
	}
	# A network namespace without a route.
	my @nowhere = ('unshare', '-rn');
	SKIP: {
		skip 'no network namespaces here', 1
		    if system("@nowhere true >/dev/null 2>&1") != 0;
		bails_out('192.0.2.1:7', 6, qr/unreachable/,
		    { wrap => \@nowhere });
	}
}

# If check does not run for longer than its timeout, it has not sent the next byte
# either. It must not take this time for a silence of the server.
subtest 'check is stopped, and goes on' => sub {
	my $server = start_server('--select');
	my $file = File::Temp->new;
	my $check = spawn(sub {
		open STDOUT, '>&', $file or die "stdout: $!";
		exec program(), qw(check --only=byte-by-byte -t400ms),
		    $server->address or die "exec: $!";
	});
	$server->wait_log(qr/ received /);
	for (1 .. 4) {
		kill STOP => $check;
		sleep 0.5;
		kill CONT => $check;
		sleep 0.01;
	}
	waitpid $check, 0;
	is $?, 0, 'exit status' or diag slurp("$file");
	$server->stop;
};

for my $case ([ qr/--profile: "rfc" .*homework, rfc862 or robust/,
    '--profile=rfc' ], [ qr/--only: .*"byte-1".*--list/, '--only=byte-1' ],
    [ qr/--skip: .*"nope"/, '--skip=line,nope' ],
    [ qr/--only: .*""/, '--only=line,' ], [ qr/--timeout/, '-t0' ],
    [ qr/two addresses/, '-a', ':1', ':2' ], [ qr/":3"/, ':2', ':3' ],
    [ qr/cannot connect to \*/, '*' ]) {
	my ($says, @args) = @$case;
	subtest "usage error: @args" => sub {
		my $run = run_echo('check', @args);
		is $run->{status}, 2, 'exit status';
		is $run->{out}, '', 'stdout';
		like $run->{err}, qr/\Aecho check: [^\n]*$says[^\n]*\n\z/,
		    'stderr';
	};
}

done_testing;
