# PROXY headers without input and output: runs t/proxy.c, which prints TAP.
use strict;
use warnings;

use FindBin;

my $dir = $ENV{ECHO_DIR} // "$FindBin::Bin/..";
my $unit = "$dir/build/t/proxy";
exec $unit or print "Bail out! $unit: $! (run make first)\n";
