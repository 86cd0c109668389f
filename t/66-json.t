# Output for programs: each line of --log=json and send --json is an object with
# the documented keys, whatever clients send.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use JSON::PP qw(decode_json);
use Test::More;

my $stamp = qr/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\z/;

# The objects of some lines. A line that is not an object is a failure.
sub objects {
	my ($text) = @_;
	return map {
		my $line = $_;
		eval { decode_json($line) } // do {
			fail 'a line is an object';
			diag show($line, 300);
			();
		};
	} split /\n/, $text;
}

# The keys of each kind of event, besides time and event.
my %keys = (
	connected => 'peer',
	received => 'bytes_in peer text',
	read => 'bytes_in peer text',
	closed => 'bytes_in bytes_out duration_ms peer reason',
	totals => 'bytes_out clients',
	stopping => 'clients duration_ms',
	warning => 'reason'
);

sub test_log {
	my ($engine) = @_;
	my $server = start_server($engine, '--log=json', '-v', '--stream');
	my $all_bytes = join '', map { chr } 0 .. 255;
	is exchange(dial($server), "say \"hello\"\n", undef, half_close => 1),
	    "say \"hello\"\n", 'a text comes back';
	is_bytes scalar exchange(dial($server), $all_bytes, undef,
	    half_close => 1), $all_bytes, 'all 256 bytes come back';
	my $sock = dial($server);
	exchange($sock, 'x', 1);
	$server->wait_log(qr/"text":"x"/);
	$server->allow(qr/\A\{.*\}\z/);
	$server->stop;
	my @events = objects($server->log);
	is_deeply [ map { join ' ', sort grep { !/^(time|event)$/ } keys %$_ }
	    @events ], [ map { $keys{$_->{event}} // 'unknown' } @events ],
	    'each event has its keys';
	is join("\n", grep { $_ !~ $stamp } map { $_->{time} } @events), '',
	    'each event has a time';
	my ($first) = grep { $_->{event} eq 'received' } @events;
	is $first->{text}, "say \"hello\"\n", 'the text is unchanged';
	my ($closed) = grep { $_->{event} eq 'closed' &&
	    $_->{bytes_out} == 256 } @events;
	is "$closed->{bytes_in} $closed->{reason}", '256 end of file',
	    'the end of a connection has its reason';
	is $events[-1]{event} . ' ' . $events[-1]{clients}, 'totals 3',
	    'the totals come last';
	unlike $server->log, qr/[^\n\x20-\x7e\xc2-\xf4\x80-\xbf]/,
	    'no control character is written';
}

for my $engine (engines_but('--uring')) {
	subtest "$engine --log=json" => sub { test_log($engine) };
}

# Runs send --json and returns its exit status and the object that it printed.
sub send_json {
	my ($address, $message) = @_;
	my $run = run_echo('send', '--json', '-a', $address, $message);
	return ($run, objects($run->{err}));
}

my $server = start_server('--stream', '--chunk=64k', '-q');
my $address = $server->address;
for (['hello', 5], ["quote \" and \xff", 13]) {
	my ($message, $bytes) = @$_;
	subtest "send --json with $bytes bytes" => sub {
		my ($run, $object) = send_json($address, $message);
		is $run->{out}, "$message\n", 'the reply goes to stdout';
		is_deeply [ @$object{qw(server sent returned status reason)} ],
		    [ $address, $bytes, $bytes, 0, undef ],
		    'the object has what was sent and returned';
		ok $object->{identical}, 'the reply is identical';
		cmp_ok $object->{duration_ms}, '>', 0, 'it took some time';
	};
}
$server->stop;

subtest 'send --json to a port without a server' => sub {
	my ($holder, $closed) = closed_port();
	my ($run, $object) = send_json($closed, 'x');
	is $run->{status}, 4, 'exit 4';
	is $object->{status}, 4, 'the object has the status';
	like $object->{reason},
	    qr/^cannot connect to \Q$closed\E: Connection refused \(/,
	    'it has the same text as without --json';
	ok !$object->{identical}, 'the reply is not identical';
};

subtest 'send --json to a name that cannot be resolved' => sub {
	my ($run, $object) = send_json('nosuch.invalid', 'x');
	is $run->{status}, 3, 'exit 3';
	is "$object->{server} $object->{status}", 'nosuch.invalid 3',
	    'the object has the name and the status';
	like $object->{reason}, qr/^cannot resolve "nosuch\.invalid": /,
	    'it has the reason';
};

done_testing;
