# check --udp on a system with few free ports: a client does not get the port of
# an earlier one, and with it the replies of a slow server.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use CheckRun;
use DatagramServers;
use EchoTest;
use Test::More;

my $missing = in_own_network(ip_local_port_range => '40000 40039');
plan skip_all => $missing if $missing;

my $server = start_datagrams('late');
is check($server, '--only=udp-closed')->{status}, 0, "udp-closed, run $_"
    for 1 .. 10;

done_testing;
