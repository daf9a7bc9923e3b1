bench/bench_load: bench/bench_load.c include/crossframe/models.h \
 include/crossframe/nn.h include/crossframe/ops.h \
 include/crossframe/autograd.h include/crossframe/tensor.h \
 include/crossframe/support.h include/crossframe/weights.h \
 include/crossframe/safetensors.h
include/crossframe/models.h:
include/crossframe/nn.h:
include/crossframe/ops.h:
include/crossframe/autograd.h:
include/crossframe/tensor.h:
include/crossframe/support.h:
include/crossframe/weights.h:
include/crossframe/safetensors.h:
