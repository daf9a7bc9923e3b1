/* Attention's kernels for x86-64 level 4: 32 registers of 64 bytes. */
#include "tensor/attention_job.h"

#if CF_ATTENTION_LEVELS
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")
#define JOB cf_attention_job_v4
#define VEC_BYTES 64
#define ROWS_OF_4 6 /* 24 sums, 4 vectors of B, 1 number of A */
#define ROWS_OF_2 8
#include "tensor/attention_kernel.h"
#endif
