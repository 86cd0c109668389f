# The operations that the ring of --uring refuses: runs t/ring.c, which prints TAP.
use strict;
use warnings;

use FindBin;

my $dir = $ENV{ECHO_DIR} // "$FindBin::Bin/..";
my $unit = "$dir/build/t/ring";
exec $unit or print "Bail out! $unit: $! (run make first)\n";
