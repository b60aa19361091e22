"""Kernels of the second pooling, with the activation after it, and of its gradient."""

POOL = """
// Max-pooling and activation after the second convolution, from channels last to channels first. A block has an image.
extern "C" __global__ void pool(const float* in, float* out, byte* from) {
  __shared__ float made[SECOND * CELLS_2];
  __shared__ byte places[SECOND * CELLS_2];
  const float* image = in + (long long)blockIdx.x * CELLS * SECOND;
  for (int i = threadIdx.x; i < SECOND * CELLS_2; i += blockDim.x) {
    int channel = i % SECOND, cell = i / SECOND;
    const float* corner = image + (cell / 7 * 2 * POOLED + cell % 7 * 2) * SECOND + channel;
    float best;
    int at;
    #pragma unroll
    for (int place = 0; place < 4; place++) larger(corner[(place / 2 * POOLED + place % 2) * SECOND], place, &best, &at);
    made[channel * CELLS_2 + cell] = activated(best);
    places[channel * CELLS_2 + cell] = at + (best <= 0 ? BELOW : 0);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < SECOND * CELLS_2; i += blockDim.x) {
    out[(long long)blockIdx.x * SECOND * CELLS_2 + i] = made[i];
    from[(long long)blockIdx.x * SECOND * CELLS_2 + i] = places[i];
  }
}"""

POOL_GRADIENT = """
// Its gradient, from channels first to channels last.
extern "C" __global__ void pool_gradient(const float* gradient, const byte* from, float* to) {
  __shared__ float given[SECOND * CELLS_2];
  __shared__ byte places[SECOND * CELLS_2];
  for (int i = threadIdx.x; i < SECOND * CELLS_2; i += blockDim.x) {
    long long at = (long long)blockIdx.x * SECOND * CELLS_2 + i;
    places[i] = from[at] & 3;
    given[i] = passed_on(gradient[at], from[at]);
  }
  __syncthreads();
  float* image = to + (long long)blockIdx.x * CELLS * SECOND;
  for (int i = threadIdx.x; i < SECOND * CELLS_2; i += blockDim.x) {
    int channel = i % SECOND, cell = i / SECOND, from = channel * CELLS_2 + cell;
    float* corner = image + (cell / 7 * 2 * POOLED + cell % 7 * 2) * SECOND + channel;
    #pragma unroll
    for (int place = 0; place < 4; place++)
      corner[(place / 2 * POOLED + place % 2) * SECOND] = places[from] == place ? given[from] : 0.f;
  }
}"""
