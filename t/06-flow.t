# Runs t/flow.c, the unit tests of the counts of bench -u (TAP).
use strict;
use warnings;

use FindBin;

my $dir = $ENV{ECHO_DIR} // "$FindBin::Bin/..";
my $unit = "$dir/build/t/flow";
exec $unit or print "Bail out! $unit: $! (run make first)\n";
