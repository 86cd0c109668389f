# The server ends connections after the pause that ends a message (--gap) and
# after --idle. All pending output comes first, then the end of file, never a
# reset.
#
# All engines wait at the same time. The times are so long that a process that
# is not scheduled for a second is not taken for a silent client.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use List::Util qw(max);
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Time::HiRes qw(sleep time);

my @engines = engines();

# Starts a server and connects one client to it, for each engine.
sub start_all {
	my @options = @_;
	return map {
		my $server = start_server($_, @options);
		{ engine => $_, server => $server, sock => dial($server),
		    dialed => time }
	} @engines;
}

# Sends a message in three parts with pauses shorter than --gap, and waits for
# the end of file. Records the received bytes and the times.
sub three_parts {
	my @cases = start_all('--message', '--gap=2s');
	for my $part ('first ', 'second ', 'third') {
		for (@cases) {
			$_->{sent_at} = time;
			$_->{back} .= exchange($_->{sock}, $part, length $part);
			$_->{back_at} = time;
		}
		sleep 0.1;
	}
	for (@cases) {
		$_->{back} .= join ' and then ', get_all($_->{sock});
		$_->{ended_at} = time;
		close $_->{sock};
	}
	return \@cases;
}

{
	my $cases = measure_again(\&three_parts, sub {
		2.5 >= max(map { $_->{ended_at} - $_->{back_at} } @{ $_[0] })
	});
	for (@$cases) {
		my ($engine, $server) = @$_{qw(engine server)};
		subtest "$engine: a message in parts" => sub {
			is $_->{back}, 'first second third and then eof',
			    'only the longer pause ends it';
			cmp_ok $_->{ended_at} - $_->{sent_at}, '>=', 1.9,
			    'not before --gap';
			cmp_ok $_->{ended_at} - $_->{back_at}, '<=', 2.5,
			    'soon after --gap';
			$server->wait_log(qr/closed after 18 bytes, .*: end of message/);
			like $server->log,
			    qr/received 18 bytes "first second third"$/m,
			    'the log shows it in one piece';
			$server->stop;
		};
	}
}

# After the end of a message the server lingers: it reads and discards further
# input, so that no reset destroys the reply.
for my $engine (@engines) {
	subtest "$engine: input after the end of a message" => sub {
		my $server = start_server($engine, '--message', '--gap=200ms');
		my $result = measure_again(sub {
			my $sock = dial($server);
			my $back = exchange($sock, 'x' x 100, undef);
			my $taken = put($sock, 'more') &&
			    put($sock, 'and more');
			my $n = sysread $sock, my $rest, 1;
			return "$back, " . ($taken ? 'taken, ' : 'refused, ') .
			    (!defined $n ? "$!" : $n == 0 ? 'eof' : 'data');
		}, sub { $_[0] =~ /taken, eof$/ });
		is $result, 'x' x 100 . ', taken, eof',
		    'it is accepted, and the client reads an end of file';
		$server->stop;
	};
}

for my $engine (@engines) {
	subtest "$engine: --idle" => sub {
		my $server = start_server($engine, '--stream', '--idle=400ms',
		    '--chunk=64k');
		my ($end, $least);
		at_most(0.9, sub {
			my $start = time;
			my $sock = dial($server);
			$end = join '', get_all($sock);
			my $took = time - $start;
			$least = $took if !defined $least || $took < $least;
			return $took;
		}, 'a client that sends nothing is closed');
		is $end, 'eof', 'by an end of file';
		cmp_ok $least, '>=', 0.39, 'not before --idle';

		my $sock = dial($server);
		my $port = $sock->sockport;
		setsockopt $sock, SOL_SOCKET, SO_RCVBUF, 4096;
		fill($sock, 'z' x 65536, 0.2);
		ok $server->wait_log(qr/:$port closed .*: idle\b/),
		    'a client that reads nothing is closed';
		close $sock;
		$server->stop;
	};
}

# A client is not idle if it sends something, or if its input waits because the
# server process is stopped (SIGSTOP).
{
	my @cases = start_all('--stream', '--idle=2s');
	for (1 .. 12) {
		exchange($_->{sock}, 'x', 1) for @cases;
		sleep 0.25;
	}
	for (@cases) {
		is exchange($_->{sock}, 'y', 1), 'y',
		    "$_->{engine}: a client that sends again and again is kept";
	}
	for (@cases) {
		kill STOP => $_->{server}->processes;
		put($_->{sock}, 'still here');
	}
	sleep 2.2;
	kill CONT => $_->{server}->processes for @cases;
	for (@cases) {
		is get($_->{sock}, 10), 'still here',
		    "$_->{engine}: a client whose input waited while the " .
		    'server was stopped is kept';
		close $_->{sock};
		$_->{server}->stop;
	}
}

# The same with more clients than one wait of the engine reports.
{
	my @cases = map { { engine => $_,
	    server => start_server($_, '-q', '--idle=4s') } }
	    parallel_engines();
	for my $case (@cases) {
		my @socks = map { dial($case->{server}) } 1 .. 200;
		put($_, 'x') for @socks;
		get($_, 1) for @socks;
		my @processes = $case->{server}->processes;
		kill STOP => @processes;
		put($_, 'we too') for @socks;
		@$case{qw(socks processes)} = (\@socks, \@processes);
	}
	sleep 4.2;
	kill CONT => @{ $_->{processes} } for @cases;
	for my $case (@cases) {
		is scalar(grep { get($_, 6) eq 'we too' } @{ $case->{socks} }),
		    200, "$case->{engine}: 200 such clients are kept";
		close $_ for splice @{ $case->{socks} };
		$case->{server}->stop;
	}
}

done_testing;
