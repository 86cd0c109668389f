# The sandbox of other architectures: builds t/sandbox.c with each cross compiler
# that is installed, and runs it with qemu-user. This emulates a kernel without
# filters, so t/sandbox.c only interprets the filter.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use EchoTest;
use File::Temp ();
use Test::More;

for my $triplet (qw(aarch64-linux-gnu arm-linux-gnueabihf
    riscv64-linux-gnu)) {
	subtest $triplet => sub {
		my $cc = "$triplet-gcc";
		plan skip_all => "there is no $cc"
		    if run_command($cc, '--version')->{status} != 0;
		my $qemu = 'qemu-' . $triplet =~ s/-.*//r;
		plan skip_all => "there is no $qemu (Debian: qemu-user)"
		    if run_command($qemu, '--version')->{status} != 0;
		my $out = File::Temp->newdir;
		my $test = "$out/build/t/sandbox";
		my $made = run_make(in_tree(''), "CC=$cc", 'LDFLAGS=',
		    "OUT=$out", $test);
		is $made->{status} . $made->{err}, '0',
		    'it compiles without a warning' or return;
		my $run = run_command($qemu, '-L', "/usr/$triplet", $test);
		is $run->{status}, 0, 'its test passes' or diag $run->{out};
		like $run->{out}, qr/^ok \d+ # SKIP the kernel has no filters/m,
		    'the kernel is the emulated one';
		my @passed = $run->{out} =~ /^ok /mg;
		cmp_ok @passed, '>', 20, 'it has tests';
	};
}

done_testing;
