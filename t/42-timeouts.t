# Combinations of rules about the end of a connection: input while the server
# lingers, --idle with a longer --gap, and output that is pending when the
# server stops.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;
use Time::HiRes qw(sleep time);

# The seconds that the log gives for the only connection.
sub logged_seconds {
	my ($server) = @_;
	$server->wait_log(qr/ closed after /) or return undef;
	my ($time, $unit) = $server->log =~ / closed after .*, (\S+) (m?s):/;
	return $unit eq 's' ? $time : $time / 1000;
}

for my $engine (engines()) {
	subtest $engine => sub {
		# The server finishes first and lingers for a second.
		my $server = start_server($engine, '--message', '--gap=100ms');
		my $sock = dial($server);
		is exchange($sock, 'hello', undef), 'hello',
		    'the server finishes after the message';
		for (my $until = time + 6; time < $until; sleep 0.1) {
			last unless put($sock, '.');
			last if $server->log =~ / closed after /;
		}
		is_between logged_seconds($server), 0.9, 4,
		    'input does not extend the time for which it lingers';
		close $sock;
		$server->stop;

		# --idle is shorter than --gap.
		$server = start_server($engine, '--message', '--gap=1m',
		    '--idle=300ms');
		$sock = dial($server);
		is join(' ', exchange($sock, 'x', undef)), 'x eof',
		    '--idle ends a message that --gap would not end yet';
		close $sock;
		$server->stop;

		# Output is pending all the time while the server stops. The
		# client writes without end, reads slowly at first, and then to
		# the end.
		$server = start_server($engine, '--stream', '--drain=6s',
		    '--idle=0', '--chunk=64k');
		$sock = dial($server);
		exchange($sock, 'x', 1);
		my ($block, $bytes) = ('z' x 65536, 0);
		my ($start, $state) = (time, 'open');
		$server->signal('TERM');
		while ($state eq 'open' && time < $start + $DEADLINE) {
			syswrite $sock, $block;
			my $n = sysread $sock, my $in,
			    time < $start + 5.2 ? 2000 : 1 << 20;
			$state = defined $n ? $n == 0 ? 'eof' : 'open' :
			    $!{EAGAIN} ? 'open' : "$!";
			$bytes += $n // 0;
			select undef, undef, undef, 0.001;
		}
		is $state, 'eof', 'a client with pending output is finished, ' .
		    'not aborted, when the server stops';
		cmp_ok $bytes, '>', 0, 'and gets its bytes';
		close $sock;
		$server->stop(undef);
	};
}

done_testing;
