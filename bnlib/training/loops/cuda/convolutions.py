"""Kernels of the two convolutions and of their gradients."""

FIRST = """
// Convolution, max-pooling and activation. A block has an image and eight channels, a thread one pooling window.
extern "C" __global__ void first(const float* images, const long long* rows, const float* matrix, float* out, byte* from) {
  __shared__ float image[MARGINED * MARGINED], weights[8 * WINDOW];
  int b = blockIdx.x, channel = blockIdx.y * 8, cell = threadIdx.x;
  with_margin(images + rows[b] * SIDE * SIDE, image);
  if (cell < 8 * WINDOW) weights[cell] = matrix[channel * WINDOW + cell];
  __syncthreads();
  if (cell >= CELLS) return;
  const float* corner = image + cell / POOLED * 2 * MARGINED + cell % POOLED * 2;
  float seen[4][4], made[8];
  byte places[8];
  #pragma unroll
  for (int i = 0; i < 16; i++) seen[i / 4][i % 4] = corner[i / 4 * MARGINED + i % 4];
  #pragma unroll
  for (int c = 0; c < 8; c++) {
    const float* w = weights + c * WINDOW;
    float best = 0;
    int at = 0;
    #pragma unroll
    for (int place = 0; place < 4; place++) {
      float sum = w[9];
      #pragma unroll
      for (int i = 0; i < 9; i++) sum = fmaf(w[i], seen[place / 2 + i / 3][place % 2 + i % 3], sum);
      larger(sum, place, &best, &at);
    }
    made[c] = activated(best);
    places[c] = at + (best <= 0 ? BELOW : 0);
  }
  long long to = ((long long)b * CELLS + cell) * FIRST + channel;
  #pragma unroll
  for (int c = 0; c < 8; c += 4) {
    *(float4*)(out + to + c) = make_float4(made[c], made[c + 1], made[c + 2], made[c + 3]);
    *(uchar4*)(from + to + c) = make_uchar4(places[c], places[c + 1], places[c + 2], places[c + 3]);
  }
}"""

FIRST_GRADIENT = """
// Each image's part of the matrix's gradient: a thread has one of its entries, a warp the channels of one pixel of windows.
extern "C" __global__ void first_gradient(
    const float* images, const long long* rows, const float* gradient, const byte* from, float* parts) {
  __shared__ float image[MARGINED * MARGINED], given[CELLS * FIRST];
  __shared__ unsigned short corners[CELLS * FIRST];  // where in the image the window of each maximum begins
  int b = blockIdx.x;
  with_margin(images + rows[b] * SIDE * SIDE, image);
  for (int i = threadIdx.x; i < CELLS * FIRST; i += blockDim.x) {
    long long at = (long long)b * CELLS * FIRST + i;
    int cell = i / FIRST, place = from[at] & 3;
    corners[i] = (cell / POOLED * 2 + place / 2) * MARGINED + cell % POOLED * 2 + place % 2;
    given[i] = passed_on(gradient[at], from[at]);
  }
  __syncthreads();
  int channel = threadIdx.x % FIRST, pixel = threadIdx.x / FIRST;
  const float* seen = image + pixel / 3 * MARGINED + pixel % 3;
  float sum = 0;
  if (pixel < 9) {
    #pragma unroll 7
    for (int i = channel; i < CELLS * FIRST; i += FIRST) sum = fmaf(given[i], seen[corners[i]], sum);
  } else {
    #pragma unroll 7
    for (int i = channel; i < CELLS * FIRST; i += FIRST) sum += given[i];
  }
  parts[(b * FIRST + channel) * WINDOW + pixel] = sum;
}"""

CONVOLVE = """
// A convolution of 3 x 3 from INCOMING to OUTGOING channels, or, FLIPPED, the gradient of its input. A block has an image, a
// thread a row of pixels in eight channels. `weights` is (INCOMING, 3, 3, OUTGOING); eight channels at a time are in shared
// memory.
#define PITCH 18  // of rows: the threads of a warp then read other banks
extern "C" __global__ void convolve(const float* in, const float* weights, const float* bias, float* out) {
  __shared__ float image[8 * 16 * PITCH];
  __shared__ float4 w[8 * 9 * OUTGOING / 4];
  int t = threadIdx.x, group = t / POOLED, row = t % POOLED;
  float sum[8][POOLED];
  #pragma unroll
  for (int c = 0; c < 8; c++)
    #pragma unroll
    for (int s = 0; s < POOLED; s++) sum[c][s] = FLIPPED ? 0.f : bias[group * 8 + c];
  for (int i = t; i < 8 * 16 * PITCH; i += blockDim.x) image[i] = 0.f;
  for (int part = 0; part < INCOMING / 8; part++) {
    __syncthreads();
    for (int i = t; i < CELLS * 2; i += blockDim.x) {
      int pixel = i / 2, channel = i % 2 * 4;
      float4 x = *(const float4*)(in + ((long long)blockIdx.x * CELLS + pixel) * INCOMING + part * 8 + channel);
      float* to = image + (channel * 16 + pixel / POOLED + 1) * PITCH + pixel % POOLED + 1;
      to[0] = x.x; to[16 * PITCH] = x.y; to[2 * 16 * PITCH] = x.z; to[3 * 16 * PITCH] = x.w;
    }
    for (int i = t; i < 8 * 9 * OUTGOING / 4; i += blockDim.x) {
      int channel = i / (9 * OUTGOING / 4), tap = i / (OUTGOING / 4) % 9, at = i % (OUTGOING / 4);
      w[i] = ((const float4*)weights)[((part * 8 + channel) * 9 + (FLIPPED ? 8 - tap : tap)) * (OUTGOING / 4) + at];
    }
    __syncthreads();
    #pragma unroll 1
    for (int channel = 0; channel < 8; channel++) {
      #pragma unroll
      for (int i = 0; i < 3; i++) {
        float x[POOLED + 2];
        const float* from = image + (channel * 16 + row + i) * PITCH;
        #pragma unroll
        for (int s = 0; s < POOLED + 2; s++) x[s] = from[s];
        #pragma unroll
        for (int j = 0; j < 3; j++) {
          float4 a = w[((channel * 9 + i * 3 + j) * OUTGOING + group * 8) / 4];
          float4 b = w[((channel * 9 + i * 3 + j) * OUTGOING + group * 8) / 4 + 1];
          float v[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
          #pragma unroll
          for (int c = 0; c < 8; c++)
            #pragma unroll
            for (int s = 0; s < POOLED; s++) sum[c][s] = fmaf(v[c], x[s + j], sum[c][s]);
        }
      }
    }
  }
  #pragma unroll
  for (int s = 0; s < POOLED; s++) {
    float4* to = (float4*)(out + ((long long)blockIdx.x * CELLS + row * POOLED + s) * OUTGOING + group * 8);
    to[0] = make_float4(sum[0][s], sum[1][s], sum[2][s], sum[3][s]);
    to[1] = make_float4(sum[4][s], sum[5][s], sum[6][s], sum[7][s]);
  }
}"""

CONVOLVE_GRADIENT = """
// The gradient of the second convolution's weights (64, 3, 3, 32) and bias (64), one after the other: of each block's images
// its part. A warp has eight channels that go out, a thread one that comes in and the nine weights of each pair.
#define ROWS 7  // of an image that are in shared memory
extern "C" __global__ void convolve_gradient(const float* in, const float* gradient, int batch, float* parts) {
  __shared__ float4 given[ROWS * POOLED * SECOND / 4];
  __shared__ float image[(ROWS + 2) * 16 * FIRST];
  int t = threadIdx.x, group = t / 32, channel = t % 32;
  float sum[8][9] = {}, of_bias = 0;
  for (int b = blockIdx.x; b < batch; b += gridDim.x)
    for (int top = 0; top < POOLED; top += ROWS) {
      __syncthreads();
      const float4* from = (const float4*)(gradient + ((long long)b * CELLS + top * POOLED) * SECOND);
      for (int i = t; i < ROWS * POOLED * SECOND / 4; i += blockDim.x) given[i] = from[i];
      for (int i = t; i < (ROWS + 2) * 16 * FIRST; i += blockDim.x) {
        int row = top + i / (16 * FIRST) - 1, column = i / FIRST % 16 - 1;
        bool inside = row >= 0 && row < POOLED && column >= 0 && column < POOLED;
        image[i] = inside ? in[((long long)b * CELLS + row * POOLED + column) * FIRST + i % FIRST] : 0.f;
      }
      __syncthreads();
      for (int pixel = t / SECOND; pixel < ROWS * POOLED; pixel += 4) of_bias += ((float*)given)[pixel * SECOND + t % SECOND];
      #pragma unroll 1
      for (int row = 0; row < ROWS; row++) {
        const float* x = image + row * 16 * FIRST + channel;
        float seen[3][3];
        #pragma unroll
        for (int i = 0; i < 3; i++)
          #pragma unroll
          for (int j = 0; j < 2; j++) seen[i][j + 1] = x[(i * 16 + j) * FIRST];
        #pragma unroll
        for (int column = 0; column < POOLED; column++) {
          #pragma unroll
          for (int i = 0; i < 3; i++) {
            seen[i][0] = seen[i][1]; seen[i][1] = seen[i][2]; seen[i][2] = x[(i * 16 + column + 2) * FIRST];
          }
          float4 p = given[((row * POOLED + column) * SECOND + group * 8) / 4];
          float4 q = given[((row * POOLED + column) * SECOND + group * 8) / 4 + 1];
          float g[8] = {p.x, p.y, p.z, p.w, q.x, q.y, q.z, q.w};
          #pragma unroll
          for (int c = 0; c < 8; c++)
            #pragma unroll
            for (int i = 0; i < 9; i++) sum[c][i] = fmaf(g[c], seen[i / 3][i % 3], sum[c][i]);
        }
      }
    }
  float* part = parts + (long long)blockIdx.x * SECOND * (9 * FIRST + 1);
  #pragma unroll
  for (int c = 0; c < 8; c++)
    #pragma unroll
    for (int i = 0; i < 9; i++) part[((group * 8 + c) * 9 + i) * FIRST + channel] = sum[c][i];
  __syncthreads();
  float* each = (float*)given;
  each[t] = of_bias;
  __syncthreads();
  if (t < SECOND) part[SECOND * 9 * FIRST + t] = each[t] + each[t + SECOND] + each[t + 2 * SECOND] + each[t + 3 * SECOND];
}"""
