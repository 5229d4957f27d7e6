// What cuDNN looks up in the driver when it makes plans for a card that is not there: it
// loads machine code, and asks about it. Nothing is ever launched.
int none(void) { return 100; }
static int handle(void **p) { *p = (void *)0x1000; return 0; }
static int number(int *p) { *p = 64; return 0; }
static int done(void) { return 0; }
#define EXPORT(name, as) __attribute__((alias(#as), visibility("default"))) int name()
EXPORT(cuLibraryLoadData, handle);
EXPORT(cuLibraryLoadFromFile, handle);
EXPORT(cuLibraryGetKernel, handle);
EXPORT(cuKernelGetFunction, handle);
EXPORT(cuModuleLoadData, handle);
EXPORT(cuModuleGetFunction, handle);
EXPORT(cuLibraryUnload, done);
EXPORT(cuModuleUnload, done);
EXPORT(cuKernelSetAttribute, done);
EXPORT(cuFuncSetAttribute, done);
EXPORT(cuKernelGetAttribute, number);
#define NONE(name) EXPORT(name, none)
NONE(cuInit); NONE(cuDriverGetVersion); NONE(cuGetProcAddress_v2); NONE(cuDeviceGet); NONE(cuDeviceGetCount);
NONE(cuGetErrorName); NONE(cuGetErrorString); NONE(cuCtxGetCurrent); NONE(cuCtxGetLimit); NONE(cuCtxPushCurrent); NONE(cuCtxPopCurrent);
NONE(cuStreamGetCtx); NONE(cuLaunchKernel); NONE(cuLaunchKernelEx); NONE(cuLaunchCooperativeKernel); NONE(cuOccupancyMaxPotentialClusterSize);
NONE(cuLinkCreate); NONE(cuLinkAddData); NONE(cuLinkComplete); NONE(cuLinkDestroy);
NONE(cuTensorMapEncodeTiled); NONE(cuTensorMapEncodeIm2col);
