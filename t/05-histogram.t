# The histogram of latencies: t/histogram.c, which speaks TAP itself.
use strict;
use warnings;

use FindBin;

my $dir = $ENV{ECHO_DIR} // "$FindBin::Bin/..";
my $unit = "$dir/build/t/histogram";
exec $unit or print "Bail out! $unit: $! (run make first)\n";
