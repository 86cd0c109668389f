# Three servers behind HAProxy with the configuration in contrib: together they
# echo like one server, no byte is lost when one of them is stopped, and they log
# the addresses of the clients.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Fcntl qw(F_SETFD);
use File::Temp ();
use IO::Socket::IP ();
use Socket qw(SOCK_STREAM);
use Test::More;

$ENV{PATH} .= ':/usr/sbin:/sbin';
plan skip_all => 'there is no haproxy'
    if run_command('haproxy', '-v')->{status} != 0;

my $CONVERSATIONS = 1000;
my $CLIENTS = 10;		# at the same time

# The server that is stopped must not take a client as silent that is only not
# scheduled.
my $engine = (engines())[-1];
my @servers = map { start_server($engine, '--proxy-protocol', '--gap=1m',
    '--drain=1m') } 1 .. 3;

# HAProxy receives its listening socket as a descriptor, so that the system can
# choose the port, and early connections wait in the kernel's queue.
my $listener = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0,
    Listen => 128, Type => SOCK_STREAM) or die $@;
fcntl $listener, F_SETFD, 0 or die $!;
my $address = '127.0.0.1:' . $listener->sockport;
my $fd = fileno $listener;
my $config = slurp(in_tree('contrib/haproxy.cfg'));
is $config =~ s/^(\tbind) 127\.0\.0\.1:10000$/$1 fd\@$fd/m, 1,
    'the configuration has port 10000';
my @addresses = map { $_->address } @servers;
is $config =~ s/^(\tserver \w+) 127\.0\.0\.1:\d+$/$1 @{[ shift @addresses ]}/gm,
    3, 'it has three servers';
my $file = File::Temp->new(SUFFIX => '.cfg');
print $file $config;
close $file or die $!;
my $check = run_command('haproxy', '-c', '-f', "$file");
is $check->{status}, 0, 'HAProxy accepts the configuration';
my $proxy = start_command({ no_wait => 1, name => 'haproxy',
    pass => [$listener] }, 'haproxy',
    '-db', '-f', "$file");
close $listener;

my $right = run_echo('check', '--profile=robust', '-a', $address);
is $right->{status}, 0, 'echo check finds no fault';

my $sent = run_echo('send', '-v', '-t', '10s', '-a', $address, 'hello');
my ($client) = $sent->{err} =~ /^connected to \S+ from (\S+)$/m;
ok defined wait_until(sub {
	grep { $_->log =~
	    /^\Q$client\E \(via 127\.0\.0\.1:\d+\) received 5 bytes "hello"$/m
	} @servers
}), 'a server logs the address of the client';

# Holds the nth conversation. Returns its fault, if any.
sub converse {
	my ($n) = @_;
	my $message = random_bytes(1 + $n * 7919 % 50_000);
	my ($back, $end) = exchange(dial($address), $message, undef,
	    half_close => 1);
	return $end ne 'eof' ? "$n: $end after " . length($back) :
	    $back ne $message ? "$n: differs" : '';
}

pipe my $results, my $done or die $!;
$done->autoflush(1);
my @clients = map {
	my $first = $_;
	spawn(sub {
		for (my $n = $first; $n < $CONVERSATIONS; $n += $CLIENTS) {
			my $wrong = eval { converse($n) } // "$n: $@";
			syswrite $done, "$wrong\n";
		}
	});
} 0 .. $CLIENTS - 1;
close $done;
my ($count, @wrong) = 0;
while (<$results>) {
	chomp;
	push @wrong, $_ if $_ ne '';
	$servers[0]->signal('TERM') if ++$count == $CONVERSATIONS / 2;
}
waitpid $_, 0 for @clients;
is $count, $CONVERSATIONS, 'all conversations have ended';
is join("\n", @wrong > 5 ? (@wrong[0 .. 4], '...') : @wrong), '',
    'every byte of each came back while one server was stopped';
$servers[0]->stop(undef);
$servers[$_]->stop for 1, 2;
cmp_ok $_->log =~ /^served (\d+) clients/m ? $1 : 0, '>', $CONVERSATIONS / 10,
    'each of the three servers did a part of the work' for @servers;

is run_echo('send', '-t', '10s', '-a', $address, 'x')->{status}, 6,
    'without a server a client reports that it was closed early';
$proxy->signal('TERM');
ok defined $proxy->wait, 'SIGTERM ends HAProxy';

done_testing;
