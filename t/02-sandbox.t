# The system calls that the sandbox refuses: runs t/sandbox.c, which prints TAP.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use Test::More;

plan skip_all => 'this system has no sandbox' unless system_has('sandbox');
my $dir = $ENV{ECHO_DIR} // "$FindBin::Bin/..";
my $unit = "$dir/build/t/sandbox";
exec $unit or print "Bail out! $unit: $! (run make first)\n";
