# Runs t/schedule.c, the unit tests of bench --rate and --search (TAP).
use strict;
use warnings;

use FindBin;

my $dir = $ENV{ECHO_DIR} // "$FindBin::Bin/..";
my $unit = "$dir/build/t/schedule";
exec $unit or print "Bail out! $unit: $! (run make first)\n";
