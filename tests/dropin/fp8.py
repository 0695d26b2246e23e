"""Products of FP8 and MXFP8 operands on the host, as programs for nvmath-python write them."""

import nvmath
import torch
from nvmath.linalg.advanced import Matmul, MatmulEpilog, MatmulOptions, MatmulQuantizationScales, matmul
from nvmath.linalg.advanced.helpers.matmul import create_mxfp8_scale

torch.manual_seed(0)
a = torch.randn(128, 256).to(torch.float8_e4m3fn)
b = torch.randn(384, 256).to(torch.float8_e4m3fn).T
exact = a.float() @ b.float()


def near(result, expected, unit):
    return bool(((result.float() - expected).abs() <= unit * expected.abs() + 2**-9 * expected.abs().max()).all())


# options are filled in one by one
options = MatmulOptions()
options.result_type = nvmath.CudaDataType.CUDA_R_16F
scales = MatmulQuantizationScales(a=0.5, b=2)
result = matmul(a, b, quantization_scales=scales, options=options)
print("type:", result.dtype is torch.float16 and result.device.type == "cpu")
print("result of 16 bits:", near(result, exact, 2**-11))

result, auxiliary = matmul(a, b, quantization_scales={"a": 1, "b": 1, "d": 0.5}, options={"result_amax": True})
print("result of 8 bits:", result.dtype is torch.float8_e4m3fn and near(result, exact / 2, 2**-4))
print("largest magnitude:", bool(abs(auxiliary["result_amax"] - exact.abs().max()) <= 2**-9 * exact.abs().max()))

with Matmul(a, b, quantization_scales=scales, options=options) as mm:
    bias = torch.linspace(-1, 1, 128).half()
    mm.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias})
    print("epilog:", near(mm.execute(), torch.relu(exact + bias.float()[:, None]), 2**-11))
    mm.reset_operands(quantization_scales={"a": 1.0})
    print("another scale:", near(mm.execute(), torch.relu(2 * exact + bias.float()[:, None]), 2**-11))

blocks = {"a": create_mxfp8_scale(a, 1), "b": create_mxfp8_scale(b, -3)}
result = matmul(a, b, quantization_scales=blocks, options={"block_scaling": True, "result_type": options.result_type})
print("scales of blocks:", near(result, exact / 4, 2**-11))

try:
    matmul(a, b, options=options)
except ValueError as error:
    print("no scales:", "quantization_scales" in str(error))
