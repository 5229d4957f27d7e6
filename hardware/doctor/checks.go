package doctor

// checks is what is looked at, in the order of the report. docs/doctor.md lists the same with
// thresholds and remedies.
var checks = []Check{
	{"processor.features", "Processor", "instruction set in use against what the processor has", features},
	{"processor.code", "Processor", "whether the system lets kernels be compiled while the program runs", machineCode},
	{"processor.cores", "Processor", "cores, and threads that are used", cores},

	{"memory.total", "Memory", "at least 8 GB", totalMemory},
	{"memory.available", "Memory", "what other programs have left", availableMemory},
	{"memory.shared", "Memory", "/dev/shm, by which programs on several cards exchange data", sharedMemory},

	{"storage.space", "Storage", "free space where runs, kernels and temporary files are written", space},
	{"storage.speed", "Storage", "whether files can be written there, and how fast", writing},

	{"devices.cards", "Devices", "cards on the PCI bus, and whether the right driver has them", cards},
	{"devices.driver", "Devices", "whether programs reach the driver: device files, permissions, versions", driver},
	{"devices.compatibility", "Devices", "driver, CUDA, cuDNN and compute capability against each other", compatibility},
	{"devices.libraries", "Devices", "the vendors' libraries by name and path", libraries},
	{"devices.compute", "Devices", "kernels compiled and run on every device, with the result checked", computing},

	{"cards.telemetry", "Cards", "whether the cards can be measured", measuring},
	{"cards.link", "Cards", "width and generation of the PCIe link", link},
	{"cards.memory", "Cards", "memory that other programs hold", memoryInUse},
	{"cards.ecc", "Cards", "errors of the cards' memory (ECC)", ecc},
	{"cards.xid", "Cards", "errors in the kernel's log (Xid)", kernelErrors},
	{"cards.throttle", "Cards", "what slows the clocks down", throttle},
	{"cards.temperature", "Cards", "temperature against the card's threshold", temperature},
	{"cards.power", "Cards", "power limit against the one that the card is sold with", powerLimit},
	{"cards.supply", "Cards", "power supply that the machine needs", supply},
	{"cards.mig", "Cards", "MIG mode and slices", mig},
	{"cards.persistence", "Cards", "persistence mode", persistence},

	{"container.memory", "Container", "memory limit of the control group", containerMemory},
	{"container.processors", "Container", "processor limits of the control group", containerProcessors},

	{"network.infiniband", "Network", "ports of InfiniBand adapters and their rate", infiniBand},
	{"network.ethernet", "Network", "Ethernet and its rate", ethernet},

	{"system.clock", "System", "whether the clock is right and kept right", clock},
	{"system.zones", "System", "the time zone, and whether names of others are known", zones},
	{"system.energy", "System", "how the energy of a run is measured: counters, or an estimate", energy},
	{"system.files", "System", "how many files may be open", openFiles},
	{"system.memlock", "System", "how much memory may be pinned for InfiniBand", memlock},
}
