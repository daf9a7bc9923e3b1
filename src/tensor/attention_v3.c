/* Attention's kernels for x86-64 level 3: 16 registers of 32 bytes. */
#include "tensor/attention_job.h"

#if CF_ATTENTION_LEVELS
#pragma GCC target("avx2,fma")
#define JOB cf_attention_job_v3
#define VEC_BYTES 32
#define ROWS_OF_2 6 /* 12 sums, 2 vectors of B, 1 number of A */
#include "tensor/attention_kernel.h"
#endif
