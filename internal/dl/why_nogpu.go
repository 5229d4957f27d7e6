//go:build nogpu

package dl

const whyNot = "this program was built with the tag nogpu, without support for GPUs; a build without the tag has it"
