# What is said to machines: each line an object, with the keys that are
# documented, whatever strangers send.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use JSON::PP qw(decode_json);
use Test::More;

my $stamp = qr/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\z/;

# The objects of some lines; what is none is a failure.
sub objects {
	my ($text) = @_;
	return map {
		my $line = $_;
		eval { decode_json($line) } // do {
			fail 'an object a line';
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

for my $engine (engines()) {
	my $server = start_server($engine, '--log=json', '-v', '--stream');
	my $before = time;
	my $hostile = join '', map { chr } 0 .. 255;
	is exchange(dial($server), "say \"hello\"\n", undef, half_close => 1),
	    "say \"hello\"\n", $engine;
	is exchange(dial($server), $hostile, undef, half_close => 1), $hostile,
	    "$engine: all bytes that there are";
	my $sock = dial($server);
	exchange($sock, 'x', 1);
	$server->wait_log(qr/"text":"x"/);
	$server->allow(qr/\A\{.*\}\z/);
	$server->stop;
	my @events = objects($server->log);
	is_deeply [ map { join ' ', sort grep { !/^(time|event)$/ } keys %$_ }
	    @events ], [ map { $keys{$_->{event}} // 'unknown' } @events ],
	    "$engine: each event has its keys";
	is scalar(grep { $_->{time} !~ $stamp } @events), 0,
	    "$engine: and a time";
	my ($first) = grep { $_->{event} eq 'received' } @events;
	is $first->{text}, "say \"hello\"\n", "$engine: the text as it was";
	my ($closed) = grep { $_->{event} eq 'closed' &&
	    $_->{bytes_out} == 256 } @events;
	is "$closed->{bytes_in} $closed->{reason}", '256 end of file',
	    "$engine: and how it ended";
	is $events[-1]{event} . ' ' . $events[-1]{clients}, 'totals 3',
	    "$engine: the totals last";
	unlike $server->log, qr/[^\n\x20-\x7e\xc2-\xf4\x80-\xbf]/,
	    "$engine: no control byte";
}

# send --json.
my $server = start_server('--stream', '--chunk=64k', '-q');
my $to = $server->address;
for (['hello', 5], ["quote \" and \xff", 13]) {
	my ($message, $bytes) = @$_;
	my $run = run_echo('send', '--json', '-a', $to, $message);
	is $run->{out}, "$message\n", 'send --json: the reply as ever';
	my ($said) = objects($run->{err});
	is_deeply [ @$said{qw(server sent returned status reason)} ],
	    [ $to, $bytes, $bytes, 0, undef ], 'and how it went';
	ok $said->{identical} && $said->{duration_ms} > 0, 'identical';
}
$server->stop;
my $run = run_echo('send', '--json', '-a', $to, 'x');
is $run->{status}, 4, 'nobody there: exit 4';
my ($said) = objects($run->{err});
is $said->{status}, 4, 'the object has the status';
like $said->{reason}, qr/^cannot connect to \Q$to\E: Connection refused \(/,
    'and the same text as without --json';
ok !$said->{identical}, 'and that it is not identical';

$run = run_echo('send', '--json', '-a', 'nosuch.invalid', 'x');
is $run->{status}, 3, 'a name that cannot be resolved: exit 3';
($said) = objects($run->{err});
is "$said->{server} $said->{status}", 'nosuch.invalid 3',
    'the object has the name and the status';
like $said->{reason}, qr/^cannot resolve "nosuch\.invalid": /,
    'and the reason';

done_testing;
