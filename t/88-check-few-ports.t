# check --udp on a system with few free ports: a client may get the port of an
# earlier client, and with it the replies of a slow server to that client.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use CheckRun;
use DatagramServers;
use EchoTest;
use Test::More;

my $missing = in_own_network(ip_local_port_range => '40000 40063');
plan skip_all => $missing if $missing;

my $server = start_datagrams('late');
is check($server, '--only=udp-closed')->{status}, 0, "udp-closed, run $_"
    for 1 .. 10;
$server = start_datagrams('overtakes');
my $run = check($server, '--only=udp-ports');
is $run->{status}, 0, 'udp-ports, a server that delays a few replies';
like $run->{out}, qr/ datagrams were lost, and answered when they were /,
    'datagrams were sent again';

done_testing;
