# Runs t/histogram.c, the unit tests of the histogram of latencies (TAP).
use strict;
use warnings;

use FindBin;

my $dir = $ENV{ECHO_DIR} // "$FindBin::Bin/..";
my $unit = "$dir/build/t/histogram";
exec $unit or print "Bail out! $unit: $! (run make first)\n";
