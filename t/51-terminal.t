# The log is on a terminal whose output is not read, as over an ssh connection
# that hangs. Such a terminal neither blocks the server nor delays a signal.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Terminal;
use Test::More;

plan skip_all => 'no pseudo-terminal here' unless open_terminal();

use constant CLIENTS => 400;	# three lines each, more than a terminal holds

# How many of the clients get their answer; stops at the first that does not.
sub served {
	my ($server) = @_;
	for my $n (0 .. CLIENTS - 1) {
		my $sock = dial($server);
		my $back = exchange($sock, 'hello', undef, half_close => 1);
		return $n unless $back eq 'hello';
	}
	return CLIENTS;
}

# What the terminal shows, up to its end.
sub read_all {
	my ($master) = @_;
	my ($text, $piece) = ('', '');
	$master->blocking(1);
	$text .= $piece while sysread $master, $piece, 65536;
	return $text =~ s/\r\n/\n/gr;
}

my $LINE = qr/127\.0\.0\.1:\d+ (?:connected|received 5 bytes "hello"|closed after 5 bytes, \S+ ms: end of \w+)/;
my $NOTICE = qr/echo serve: \d+ lines? of the log lost/;

sub is_whole {
	my ($text, $name) = @_;
	my @wrong = grep { !/^(?:$LINE|$NOTICE|stopping: .*|served .*|.*no sandbox.*)$/ }
	    split /\n/, $text;
	is "@wrong", '', $name;
}

for my $engine (engines_but('--uring')) {
	subtest $engine => sub {
		my ($master, $slave) = open_terminal();
		my $server = start_server({ log => $slave }, $engine);
		is served($server), CLIENTS, 'every client is served';
		my $before = '';
		$master->blocking(0);
		wait_until(sub {
			while (sysread $master, my $piece, 65536) {
				$before .= $piece;
			}
			exchange(dial($server), 'hello', undef,
			    half_close => 1);
			$before =~ $NOTICE;
		});
		like $before, $NOTICE,
		    'read again, the terminal shows that lines were lost';
		$server->signal('TERM');
		is $server->wait, 0, 'SIGTERM ends the server';
		my $text = $before =~ s/\r\n/\n/gr . read_all($master);
		like $text, qr/ connected$/m, 'the log is on the terminal';
		is_whole($text, 'every line is whole')
		    unless $engine =~ /workers/;
	};
}

# If the terminal cannot be opened again, a child copies the log to it.
SKIP: {
	my @as_other = qw(setpriv --reuid=65534 --regid=65534 --clear-groups);
	skip 'only root can become another user', 1 if $> != 0 ||
	    run_command(@as_other, program(), '--version')->{status} != 0;
	subtest 'the terminal belongs to another user' => sub {
		for my $engine (engines_but('--uring')) {
			my ($master, $slave) = open_terminal();
			chmod 0600, $slave or die $!;
			open my $log, '>', $slave or die "$slave: $!";
			my $server = start_server({ log => $log,
			    wrap => \@as_other }, $engine);
			close $log;
			is served($server), CLIENTS,
			    "$engine: every client is served";
			my @children = map { split ' ', slurp(
			    "/proc/$_/task/$_/children") } $server->pid;
			$server->signal('TERM');
			is $server->wait, 0, "$engine: SIGTERM ends it";
			ok wait_until(sub {
				!grep { !process_gone($_) } @children }),
			    "$engine: no process is left";
			my $text = read_all($master);
			like $text, qr/ connected$/m,
			    "$engine: the log is on the terminal";
		}
	};
}

done_testing;
