# Tests of check against the mode faulty: each fault is detected, and the
# sentence names it. The servers of t/80-check.t test the same without the mode
# faulty.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use CheckRun;
use EchoTest;
use Test::More;

my $TIMEOUT = 2;		# seconds, for servers that do not answer
my @homework = map { /^(\S+) +homework/ ? $1 : () }
    split /\n/, check(':1', '--list')->{out};
my @long = grep { /13|15|16|17|32|52|text|line|utf8|again/ } @homework;

# For each fault: its value, the tests that are run, those of them that fail,
# and the messages of some.
my %faults = (
	corrupt => [ 7, \@homework, \@long, { 'bytes-13' =>
	    qr/^one byte changed: 0x68 became 0x69 at offset 7$/ } ],
	drop => [ 7, \@homework, \@long,
	    { 'bytes-17' => qr/^1 byte was lost at offset 7$/ } ],
	double => [ 7, \@homework, \@long,
	    { 'bytes-13' => qr/^1 byte was doubled at offset 7$/ } ],
	swap => [ 7, \@homework, \@long, { 'bytes-13' =>
	    qr/^two neighbouring bytes were exchanged at offset 7$/ } ],
	upper => [ undef, \@homework, \@homework,
	    { 'bytes-1' => qr/^lower case became upper case$/ } ],
	text => [ undef, \@homework, [ 'utf8-split' ], { 'utf8-split' =>
	    qr/without an answer: decodes .* fails at a character that two recvs share$/ } ],
	crlf => [ undef, \@homework, [ 'line' ],
	    { line => qr/^a CR was inserted before a newline$/ } ],
	strip => [ undef, \@homework, [ 'line' ],
	    { line => qr/^white space at the end was stripped$/ } ],
	line => [ undef, [ 'bytes-1', 'line' ], [ 'bytes-1' ], { 'bytes-1' =>
	    qr/^answered only after a newline: answers only complete lines$/ } ],
	banner => [ 'hello', [ 'bytes-1', 'no-banner' ],
	    [ 'bytes-1', 'no-banner' ], { 'bytes-1' =>
	    qr/^the same 5 bytes came before the echo of two messages$/,
	    'no-banner' => qr/^5 bytes came before the client had sent any$/ } ],
	constant => [ 'hello', \@homework, \@homework, { 'bytes-13' =>
	    qr/^the same 5 bytes came back .* does not depend on the message$/ } ],
	once => [ 5, [ 'bytes-1', 'bytes-13' ], [ 'bytes-13' ], { 'bytes-13' =>
	    qr/^reset .* after 5 of 13 bytes: calls recv once .* at most 5 bytes$/ } ],
	short => [ undef, [ 'bytes-17', 'at-once' ], [ 'at-once' ],
	    { 'at-once' => qr/: takes a (?:recv of fewer than \d+ bytes|short recv) for the end of the message$/ } ],
	gather => [ undef, [ 'bytes-16', 'bytes-17', 'bytes-32' ],
	    [ 'bytes-16', 'bytes-32' ], { 'bytes-16' => qr/: waits for a recv of fewer than 16 bytes before it answers$/ } ],
	pieces => [ 7, [ @homework, 'bytes-4096', 'fin' ], [], {} ],
	delay => [ '20ms', [ @homework, 'messages', 'fin' ], [], {} ],
	rate => [ '64k', [ @homework, 'bytes-4096', 'fin' ], [], {} ],
	mute => [ undef, [ 'bytes-1', 'line' ], [ 'bytes-1', 'line' ],
	    { 'bytes-1' => qr/^did not answer, not even .* end of file$/ } ],
	deaf => [ undef, [ 'bytes-1', 'line' ], [ 'bytes-1', 'line' ],
	    { 'bytes-1' => qr/^did not answer, .* did not read 1 MiB either$/ } ],
	close => [ 5, [ 'bytes-1', 'bytes-13' ], [ 'bytes-13' ], { 'bytes-13' =>
	    qr/^closed after 5 of 13 bytes: ends each connection after 5 bytes$/ } ],
	reset => [ 5, [ 'bytes-1', 'bytes-13' ], [ 'bytes-13' ], { 'bytes-13' =>
	    qr/^reset the .* after 5 of 13 bytes: ends each connection after 5 bytes$/ } ],
	'lost-tail' => [ undef, [ 'bytes-13', 'fin' ], [ 'fin' ], { fin =>
	    qr/: the server, or a proxy in between, drops pending output at / } ],
	'no-fin' => [ undef, [ 'bytes-13', 'fin' ], [ 'fin' ],
	    { fin => qr/^did not close after the client's end of file$/ } ],
	'one-client' => [ undef, \@homework, \@homework, { 'bytes-1' =>
	    qr/has accepted no connection since: it serves one client only$/ } ]
);

my @listed = map { /^(\S+)\s+\S+\s+tcp/ } split /\n/,
    run_echo('faulty', '--list')->{out};
is "@{[ sort keys %faults ]}", "@{[ sort @listed ]}",
    'every TCP fault of faulty --list is here';

sub start_faulty {
	my ($fault) = @_;
	return start_command({ name => "faulty $fault" }, program(), 'faulty',
	    '-qp0', $fault);
}

run_cases(map {
	my ($value, $tests, $fails, $says) = @{ $faults{$_} };
	my $fault = join '=', $_, $value // ();
	{
		name => @$fails ? $fault : "$fault is correct",
		timeout => @$fails ? $TIMEOUT : 10,
		start => sub { start_faulty($fault) },
		stop => sub { is $_[0]->log, '', 'no error in the server' },
		args => [ '--only=' . join ',', @$tests ],
		tests => $tests, fails => $fails, says => $says
	};
} grep { $faults{$_} } @listed);

# The result of a test does not depend on the tests before it.
for my $fault (qw(gather line)) {
	my $server = start_faulty($fault);
	my @tests = qw(bytes-16 bytes-17 line bytes-1M fin);
	my $all = parse_tap(check($server, '-t1s', '--only=' .
	    join ',', @tests));
	my %failed = map { $_ => 1 } @{ $all->{failed} };
	subtest "each test alone: $fault" => sub {
		for my $test (@tests) {
			my $alone = parse_tap(check($server, '-t1s',
			    "--only=$test"));
			is @{ $alone->{failed} }, $failed{$test} // 0, $test
			    or diag explain [ $all, $alone ];
		}
	};
}

# The RST may come before check sees that the connection is open.
subtest 'each connection is reset at once' => sub {
	my $server = start_faulty('reset=0');
	my $command = join ' ', program(), 'faulty', '-qp{port}', 'reset=0';
	for my $where ([ $server->address ], [ '--start', $command ]) {
		my $run = run_echo({ wrap => shimmed('reset') }, 'check',
		    '--only=bytes-1,again,empty', @$where);
		is $run->{status}, 1, "@$where: exit status";
		my @says = $run->{out} =~ /^  message: "(.*)"$/mg;
		is $says[0], 'ended the connection before the client had ' .
		    'sent anything', "@$where: message";
	}
};

done_testing;
