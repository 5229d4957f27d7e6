package hardware

import "slices"

// Catalogue is the cards that Sinter knows, those of NVIDIA before those of AMD, older ones
// first.
func Catalogue() []Card {
	list := slices.Clone(catalogue)
	for i := range list {
		list[i] = list[i].clone()
	}
	return list
}

const (
	tera = 1e12
	giga = 1e9
	mib  = 1 << 20
	gib  = 1 << 30
)

// peak is the figures of a card in TFLOP/s, as sheets have them.
type peak map[string]float64

func (p peak) flops() map[string]float64 {
	m := make(map[string]float64, len(p))
	for t, v := range p {
		m[t] = v * tera
	}
	return m
}

// What sheets say of the matrix units with sparse operands is twice what they do with dense
// ones, and is nowhere here. GeForce cards do half as much where they accumulate in
// float32, and training does that. fp64 and fp32 of the data centre's cards are without
// matrix units. Where a sheet gives the vector rate of a type as a part of another one's,
// the figure is that part.
//
// Memory of NVIDIA's cards is what nvidia-smi shows for one as it is sold, which is up to 6 %
// less than the name says: error correction takes its part of GDDR6.
//
// What cards draw without work is rounded from what nvidia-smi shows for cards that nobody
// uses, and differs by tens of percent from one to the next.
var catalogue = []Card{
	{Key: "v100-pcie-16gb", Name: "NVIDIA V100 PCIe 16GB", Vendor: "nvidia", Arch: "sm_70", Capability: 70, Peak: peak{"fp64": 7, "fp32": 14, "fp16": 112}.flops(),
		Bandwidth: 900 * giga, Memory: 16384 * mib, Units: 80, Power: 250, Idle: 25, CUDA: volta.cuda, CuDNN: volta.cudnn, Driver: volta.driver,
		Source: "NVIDIA V100 data sheet, 2020", models: []string{"Tesla V100-PCIE-16GB"}},
	{Key: "v100-pcie-32gb", Name: "NVIDIA V100 PCIe 32GB", Vendor: "nvidia", Arch: "sm_70", Capability: 70, Peak: peak{"fp64": 7, "fp32": 14, "fp16": 112}.flops(),
		Bandwidth: 900 * giga, Memory: 32768 * mib, Units: 80, Power: 250, Idle: 25, CUDA: volta.cuda, CuDNN: volta.cudnn, Driver: volta.driver,
		Source: "NVIDIA V100 data sheet, 2020", models: []string{"Tesla V100-PCIE-32GB"}},
	{Key: "v100-16gb", Name: "NVIDIA V100 SXM2 16GB", Vendor: "nvidia", Arch: "sm_70", Capability: 70, Peak: peak{"fp64": 7.8, "fp32": 15.7, "fp16": 125}.flops(),
		Bandwidth: 900 * giga, Memory: 16384 * mib, Units: 80, Power: 300, Idle: 40, CUDA: volta.cuda, CuDNN: volta.cudnn, Driver: volta.driver,
		Source: "NVIDIA V100 data sheet, 2020", models: []string{"Tesla V100-SXM2-16GB"}},
	{Key: "v100-32gb", Name: "NVIDIA V100 SXM2 32GB", Vendor: "nvidia", Arch: "sm_70", Capability: 70, Peak: peak{"fp64": 7.8, "fp32": 15.7, "fp16": 125}.flops(),
		Bandwidth: 900 * giga, Memory: 32768 * mib, Units: 80, Power: 300, Idle: 40, CUDA: volta.cuda, CuDNN: volta.cudnn, Driver: volta.driver,
		Source: "NVIDIA V100 data sheet, 2020", models: []string{"Tesla V100-SXM2-32GB"}},

	{Key: "rtx-2080-ti", Name: "NVIDIA GeForce RTX 2080 Ti", Vendor: "nvidia", Arch: "sm_75", Capability: 75, Peak: peak{"fp64": 13.4 / 32, "fp32": 13.4, "fp16": 53.8, "int8": 215.2}.flops(),
		Bandwidth: 616 * giga, Memory: 11264 * mib, Units: 68, Power: 250, Idle: 10, Supply: 650, CUDA: turing.cuda, CuDNN: turing.cudnn, Driver: turing.driver,
		Source: "NVIDIA Turing GPU architecture white paper, 2018 (reference clocks)", models: []string{"NVIDIA GeForce RTX 2080 Ti", "GeForce RTX 2080 Ti"}},
	{Key: "t4", Name: "NVIDIA T4", Vendor: "nvidia", Arch: "sm_75", Capability: 75, Peak: peak{"fp64": 8.1 / 32, "fp32": 8.1, "fp16": 65, "int8": 130}.flops(),
		Bandwidth: 320 * giga, Memory: 15360 * mib, Units: 40, Power: 70, Idle: 10, CUDA: turing.cuda, CuDNN: turing.cudnn, Driver: turing.driver,
		Source: "NVIDIA T4 data sheet and Turing white paper, 2018", models: []string{"Tesla T4"}},

	{Key: "a10", Name: "NVIDIA A10", Vendor: "nvidia", Arch: "sm_86", Capability: 86, Peak: peak{"fp64": 31.2 / 64, "fp32": 31.2, "tf32": 62.5, "fp16": 125, "bf16": 125, "int8": 250}.flops(),
		Bandwidth: 600 * giga, Memory: 23028 * mib, Units: 72, Power: 150, Idle: 20, CUDA: ampere86.cuda, CuDNN: ampere86.cudnn, Driver: ampere86.driver,
		Source: "NVIDIA A10 data sheet, 2021", models: []string{"NVIDIA A10"}},
	{Key: "a30", Name: "NVIDIA A30", Vendor: "nvidia", Arch: "sm_80", Capability: 80, Peak: peak{"fp64": 5.2, "fp32": 10.3, "tf32": 82, "fp16": 165, "bf16": 165, "int8": 330}.flops(),
		Bandwidth: 933 * giga, Memory: 24576 * mib, Units: 56, Power: 165, Idle: 25, CUDA: ampere80.cuda, CuDNN: ampere80.cudnn, Driver: ampere80.driver,
		MIG: mig4("6gb 12gb 24gb", 5.69, 11.39, 22.79), Source: "NVIDIA A30 data sheet, 2022", models: []string{"NVIDIA A30"}},
	{Key: "a100-pcie-40gb", Name: "NVIDIA A100 PCIe 40GB", Vendor: "nvidia", Arch: "sm_80", Capability: 80, Peak: a100,
		Bandwidth: 1555 * giga, Memory: 40960 * mib, Units: 108, Power: 250, Idle: 35, CUDA: ampere80.cuda, CuDNN: ampere80.cudnn, Driver: ampere80.driver,
		MIG: mig7(a100Units, "5gb 10gb 20gb 40gb", 4.75, 9.62, 19.5, 39.25), Source: "NVIDIA A100 data sheet, 2021", models: []string{"NVIDIA A100-PCIE-40GB", "A100-PCIE-40GB"}},
	{Key: "a100-pcie-80gb", Name: "NVIDIA A100 PCIe 80GB", Vendor: "nvidia", Arch: "sm_80", Capability: 80, Peak: a100,
		Bandwidth: 1935 * giga, Memory: 81920 * mib, Units: 108, Power: 300, Idle: 45, CUDA: ampere80.cuda, CuDNN: ampere80.cudnn, Driver: ampere80.driver,
		MIG: mig7(a100Units, "10gb 20gb 40gb 80gb", 9.5, 19.5, 39.25, 78.75), Source: "NVIDIA A100 data sheet, 2021", models: []string{"NVIDIA A100 80GB PCIe"}},
	{Key: "a100-40gb", Name: "NVIDIA A100 SXM 40GB", Vendor: "nvidia", Arch: "sm_80", Capability: 80, Peak: a100,
		Bandwidth: 1555 * giga, Memory: 40960 * mib, Units: 108, Power: 400, Idle: 50, CUDA: ampere80.cuda, CuDNN: ampere80.cudnn, Driver: ampere80.driver,
		MIG: mig7(a100Units, "5gb 10gb 20gb 40gb", 4.75, 9.62, 19.5, 39.25), Source: "NVIDIA A100 data sheet, 2021", models: []string{"NVIDIA A100-SXM4-40GB", "A100-SXM4-40GB"}},
	{Key: "a100-80gb", Name: "NVIDIA A100 SXM 80GB", Vendor: "nvidia", Arch: "sm_80", Capability: 80, Peak: a100,
		Bandwidth: 2039 * giga, Memory: 81920 * mib, Units: 108, Power: 400, Idle: 60, CUDA: ampere80.cuda, CuDNN: ampere80.cudnn, Driver: ampere80.driver,
		MIG: mig7(a100Units, "10gb 20gb 40gb 80gb", 9.5, 19.5, 39.25, 78.75), Source: "NVIDIA A100 data sheet, 2021", models: []string{"NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"}},

	{Key: "rtx-3080", Name: "NVIDIA GeForce RTX 3080 10GB", Vendor: "nvidia", Arch: "sm_86", Capability: 86, Peak: peak{"fp64": 29.8 / 64, "fp32": 29.8, "tf32": 29.8, "fp16": 59.5, "bf16": 59.5, "int8": 238}.flops(),
		Bandwidth: 760 * giga, Memory: 10240 * mib, Units: 68, Power: 320, Idle: 20, Supply: 750, CUDA: ampere86.cuda, CuDNN: ampere86.cudnn, Driver: ampere86.driver,
		Source: "NVIDIA Ampere GA102 GPU architecture white paper, 2020", models: []string{"NVIDIA GeForce RTX 3080", "GeForce RTX 3080"}},
	{Key: "rtx-3090", Name: "NVIDIA GeForce RTX 3090", Vendor: "nvidia", Arch: "sm_86", Capability: 86, Peak: peak{"fp64": 35.6 / 64, "fp32": 35.6, "tf32": 35.6, "fp16": 71, "bf16": 71, "int8": 284}.flops(),
		Bandwidth: 936 * giga, Memory: 24576 * mib, Units: 82, Power: 350, Idle: 25, Supply: 750, CUDA: ampere86.cuda, CuDNN: ampere86.cudnn, Driver: ampere86.driver,
		Source: "NVIDIA Ampere GA102 GPU architecture white paper, 2020", models: []string{"NVIDIA GeForce RTX 3090", "GeForce RTX 3090"}},
	{Key: "rtx-a6000", Name: "NVIDIA RTX A6000", Vendor: "nvidia", Arch: "sm_86", Capability: 86, Peak: peak{"fp64": 38.7 / 64, "fp32": 38.7, "tf32": 77.4, "fp16": 154.8, "bf16": 154.8, "int8": 309.7}.flops(),
		Bandwidth: 768 * giga, Memory: 49140 * mib, Units: 84, Power: 300, Idle: 20, CUDA: ampere86.cuda, CuDNN: ampere86.cudnn, Driver: ampere86.driver,
		Source: "NVIDIA Ampere GA102 GPU architecture white paper, 2020", models: []string{"NVIDIA RTX A6000", "RTX A6000"}},

	{Key: "rtx-4090", Name: "NVIDIA GeForce RTX 4090", Vendor: "nvidia", Arch: "sm_89", Capability: 89, Peak: peak{"fp64": 82.6 / 64, "fp32": 82.6, "tf32": 82.6, "fp16": 165.2, "bf16": 165.2, "fp8": 330.3, "int8": 660.6}.flops(),
		Bandwidth: 1008 * giga, Memory: 24564 * mib, Units: 128, Power: 450, Idle: 20, Supply: 850, CUDA: ada.cuda, CuDNN: ada.cudnn, Driver: ada.driver,
		Source: "NVIDIA Ada GPU architecture white paper, 2022", models: []string{"NVIDIA GeForce RTX 4090"}},
	{Key: "l4", Name: "NVIDIA L4", Vendor: "nvidia", Arch: "sm_89", Capability: 89, Peak: peak{"fp64": 30.3 / 64, "fp32": 30.3, "tf32": 60, "fp16": 121, "bf16": 121, "fp8": 242.5, "int8": 242.5}.flops(),
		Bandwidth: 300 * giga, Memory: 23034 * mib, Units: 58, Power: 72, Idle: 15, CUDA: ada.cuda, CuDNN: ada.cudnn, Driver: ada.driver,
		Source: "NVIDIA L4 data sheet, 2023", models: []string{"NVIDIA L4"}},
	{Key: "l40s", Name: "NVIDIA L40S", Vendor: "nvidia", Arch: "sm_89", Capability: 89, Peak: peak{"fp64": 91.6 / 64, "fp32": 91.6, "tf32": 183, "fp16": 362, "bf16": 362, "fp8": 733, "int8": 733}.flops(),
		Bandwidth: 864 * giga, Memory: 46068 * mib, Units: 142, Power: 350, Idle: 30, CUDA: ada.cuda, CuDNN: ada.cudnn, Driver: ada.driver,
		Source: "NVIDIA L40S data sheet, 2023", models: []string{"NVIDIA L40S"}},

	{Key: "h100-pcie", Name: "NVIDIA H100 PCIe", Vendor: "nvidia", Arch: "sm_90", Capability: 90, Peak: peak{"fp64": 26, "fp32": 51, "tf32": 378, "fp16": 756, "bf16": 756, "fp8": 1513, "int8": 1513}.flops(),
		Bandwidth: 2000 * giga, Memory: 81559 * mib, Units: 114, Power: 350, Idle: 50, CUDA: hopper.cuda, CuDNN: hopper.cudnn, Driver: hopper.driver,
		MIG: mig7(h100PCIeUnits, "10gb 20gb 40gb 80gb", 9.75, 19.62, 39.5, 79.25), Source: "NVIDIA H100 data sheet, 2023", models: []string{"NVIDIA H100 PCIe"}},
	{Key: "h100-sxm", Name: "NVIDIA H100 SXM", Vendor: "nvidia", Arch: "sm_90", Capability: 90, Peak: h100,
		Bandwidth: 3350 * giga, Memory: 81559 * mib, Units: 132, Power: 700, Idle: 70, CUDA: hopper.cuda, CuDNN: hopper.cudnn, Driver: hopper.driver,
		MIG: mig7(h100Units, "10gb 20gb 40gb 80gb", 9.75, 19.62, 39.5, 79.25), Source: "NVIDIA H100 data sheet, 2023", models: []string{"NVIDIA H100 80GB HBM3"}},
	{Key: "h200", Name: "NVIDIA H200 SXM", Vendor: "nvidia", Arch: "sm_90", Capability: 90, Peak: h100,
		Bandwidth: 4800 * giga, Memory: 143771 * mib, Units: 132, Power: 700, Idle: 75, CUDA: hopper.cuda, CuDNN: hopper.cudnn, Driver: hopper.driver,
		MIG: mig7(h100Units, "18gb 35gb 71gb 141gb", 16, 32, 64, 128), Source: "NVIDIA H200 data sheet, 2024", models: []string{"NVIDIA H200"}},

	{Key: "b200", Name: "NVIDIA B200", Vendor: "nvidia", Arch: "sm_100", Capability: 100, Peak: peak{"fp64": 37, "fp32": 75, "tf32": 1100, "fp16": 2250, "bf16": 2250, "fp8": 4500, "int8": 4500}.flops(),
		Bandwidth: 7700 * giga, Memory: 183359 * mib, Units: 148, Power: 1000, Idle: 140, CUDA: blackwell.cuda, CuDNN: blackwell.cudnn, Driver: blackwell.driver,
		MIG: mig7(b200Units, "23gb 45gb 90gb 180gb", 20.5, 41, 82, 164), Source: "NVIDIA HGX B200 data sheet, 2025", models: []string{"NVIDIA B200"}},
	{Key: "rtx-5090", Name: "NVIDIA GeForce RTX 5090", Vendor: "nvidia", Arch: "sm_120", Capability: 120, Peak: peak{"fp64": 104.8 / 64, "fp32": 104.8, "tf32": 104.8, "fp16": 209.5, "bf16": 209.5, "fp8": 419, "int8": 838}.flops(),
		Bandwidth: 1792 * giga, Memory: 32607 * mib, Units: 170, Power: 575, Idle: 30, Supply: 1000, CUDA: blackwell.cuda, CuDNN: blackwell.cudnn, Driver: blackwell.driver,
		Source: "NVIDIA RTX Blackwell GPU architecture white paper, 2025", models: []string{"NVIDIA GeForce RTX 5090"}},

	{Key: "rx-6800-xt", Name: "AMD Radeon RX 6800 XT", Vendor: "amd", Arch: "gfx1030", Peak: peak{"fp64": 20.74 / 16, "fp32": 20.74, "fp16": 41.47, "int8": 82.9}.flops(),
		Bandwidth: 512 * giga, Memory: 16 * gib, Units: 72, Power: 300, Idle: 10, Supply: 750,
		Source: "AMD Radeon RX 6800 XT product page, 2020", models: []string{"AMD Radeon RX 6800 XT"}},
	{Key: "rx-7900-xtx", Name: "AMD Radeon RX 7900 XTX", Vendor: "amd", Arch: "gfx1100", Peak: peak{"fp32": 61.4, "fp16": 122.8, "bf16": 122.8}.flops(),
		Bandwidth: 960 * giga, Memory: 24 * gib, Units: 96, Power: 355, Idle: 15, Supply: 800,
		Source: "AMD Radeon RX 7900 XTX product page, 2022", models: []string{"AMD Radeon RX 7900 XTX"}},
	{Key: "mi300x", Name: "AMD Instinct MI300X", Vendor: "amd", Arch: "gfx942", Peak: peak{"fp64": 81.7, "fp32": 163.4, "tf32": 653.7, "fp16": 1307.4, "bf16": 1307.4, "fp8": 2614.9, "int8": 2614.9}.flops(),
		Bandwidth: 5300 * giga, Memory: 192 * gib, Units: 304, Power: 750, Idle: 140,
		Source: "AMD Instinct MI300X data sheet, 2023", models: []string{"AMD Instinct MI300X", "AMD Instinct MI300X OAM"}},
}

var (
	a100 = peak{"fp64": 9.7, "fp32": 19.5, "tf32": 156, "fp16": 312, "bf16": 312, "int8": 624}.flops()
	h100 = peak{"fp64": 34, "fp32": 67, "tf32": 494.7, "fp16": 989.4, "bf16": 989.4, "fp8": 1978.9, "int8": 1978.9}.flops()
)

// suits is what an architecture works with: what compiles for it, what has kernels for it,
// and what drives it.
type suits struct{ cuda, cudnn, driver Range }

var (
	volta     = suits{cuda: Range{"9.0", "12.9"}, cudnn: Range{"7.0", "9.10"}, driver: Range{"384.81", "580"}}
	turing    = suits{cuda: Range{Min: "10.0"}, cudnn: Range{Min: "7.3"}, driver: Range{Min: "410.48"}}
	ampere80  = suits{cuda: Range{Min: "11.0"}, cudnn: Range{Min: "8.0"}, driver: Range{Min: "450.36.06"}}
	ampere86  = suits{cuda: Range{Min: "11.1"}, cudnn: Range{Min: "8.0.4"}, driver: Range{Min: "455.23"}}
	ada       = suits{cuda: Range{Min: "11.8"}, cudnn: Range{Min: "8.6"}, driver: Range{Min: "520.61.05"}}
	hopper    = suits{cuda: Range{Min: "11.8"}, cudnn: Range{Min: "8.6"}, driver: Range{Min: "520.61.05"}}
	blackwell = suits{cuda: Range{Min: "12.8"}, cudnn: Range{Min: "9.7"}, driver: Range{Min: "570.26"}}
)
