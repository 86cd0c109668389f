# A client that takes its answers slowly moves, and is kept beyond --idle, though
# the server's send(2) does not tell: the kernel takes megabytes, and then
# nothing until a third of them is gone.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;
use Time::HiRes qw(sleep);

my $block = pattern(1 << 16);
my %clients = map { $_ => {
	server => start_server($_, '--stream', '--idle=2s', '--chunk=64k'),
	sent => 0, back => ''
} } engines();

for my $client (values %clients) {
	$client->{sock} = dial($client->{server});
	while (IO::Select->new($client->{sock})->can_write(0.2)) {
		$client->{sent} += syswrite $client->{sock}, $block, 1 << 16,
		    $client->{sent} % (1 << 16);
	}
}
# 5 s at some 300 kB/s, for all of them at once.
for (1 .. 250) {
	sysread $_->{sock}, $_->{back}, 6000, length $_->{back}
	    for values %clients;
	sleep 0.02;
}
for my $engine (sort keys %clients) {
	my ($sock, $sent, $back) = @{ $clients{$engine} }{qw(sock sent back)};
	cmp_ok length $back, '<', $sent / 2, "$engine: it takes slowly";
	my ($rest, $end) = exchange($sock, '', $sent - length $back);
	my $whole = $block x (1 + $sent / length $block);
	ok "$back$rest" eq substr($whole, 0, $sent),
	    "$engine: and is kept until it has all" or
	    diag length($back) + length $rest, " of $sent, then $end";
	close $sock;
	$clients{$engine}{server}->stop;
}

done_testing;
