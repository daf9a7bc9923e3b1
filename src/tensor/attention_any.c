/* Attention's kernels for every CPU: 16 registers of 16 bytes, no multiply-add. */
#include "tensor/attention_job.h"

#define JOB cf_attention_job_any
#define VEC_BYTES 16
#define ROWS_OF_2 4 /* 8 sums, 2 vectors of B, 1 number of A and their products */
#include "tensor/attention_kernel.h"
