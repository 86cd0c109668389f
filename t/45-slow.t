# A client that reads its replies slowly is not idle, although the server's
# send(2) does not show that the client reads: the kernel accepts megabytes, and
# then no byte until the client has read a third of them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $block = pattern(1 << 16);
my %clients = map { $_ => {
	server => start_server($_, '--stream', '--idle=5s', '--chunk=64k'),
	back => ''
} } engines();

for my $client (values %clients) {
	$client->{sock} = dial($client->{server});
	$client->{sent} = fill($client->{sock}, $block, 0.2);
}
# All clients read 300 kB/s for longer than --idle. A client that was not
# scheduled reads faster afterwards, because its kernel reports room only in
# pieces of hundreds of kilobytes: at half the rate, the server would see no
# progress for 3 s.
my $start = time;
while ((my $elapsed = time - $start) < 9) {
	for (values %clients) {
		my $due = int(300_000 * $elapsed) - length $_->{back};
		sysread $_->{sock}, $_->{back}, $due, length $_->{back}
		    if $due > 0;
	}
	sleep 0.02;
}
$_->{slow_bytes} = length $_->{back} for values %clients;

# Then all clients read the rest at the same time. If they read one after another,
# the last of them would wait for longer than --idle on a busy machine.
my @unread = values %clients;
while (@unread && time - $start < 9 + $DEADLINE) {
	for (@unread) {
		my $n = sysread $_->{sock}, $_->{back}, 1 << 18,
		    length $_->{back};
		$_->{has_ended} = defined $n ? $n == 0 : !$!{EAGAIN};
	}
	@unread = grep { !$_->{has_ended} &&
	    length $_->{back} < $_->{sent} } @unread;
	sleep 0.002;
}
for my $engine (sort keys %clients) {
	subtest $engine => sub {
		my ($sock, $sent, $back, $server) =
		    @{ $clients{$engine} }{qw(sock sent back server)};
		cmp_ok $clients{$engine}{slow_bytes}, '<', $sent / 2,
		    "after 9 s less than half of $sent bytes is read";
		is_bytes $back, pattern_at($block, 0, $sent),
		    'it is kept until it has read all';
		is exchange($sock, 'on', 2), 'on',
		    'the connection is still open';
		close $sock;
		$server->stop;
	};
}

done_testing;
