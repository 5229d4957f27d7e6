package emit

// Op is an instruction, by its name in Go's assembler. Its flags are below.
type Op uint16

// The instructions, in the order of the table.
const (
	_ Op = iota

	// General registers. L means 32 bits, which clears the upper half of the destination; Q means 64.
	MOVQ
	MOVL
	MOVW
	MOVB
	MOVWLZX
	MOVBLZX
	MOVLQSX
	LEAQ
	ADDQ
	ADDL
	SUBQ
	SUBL
	ANDQ
	ANDL
	ORQ
	ORL
	XORQ
	XORL
	CMPQ
	CMPL
	CMPB
	TESTQ
	TESTL
	TESTB
	INCQ
	INCL
	DECQ
	DECL
	NEGQ
	NEGL
	NOTQ
	NOTL
	IMULQ
	IMUL3Q
	SHLQ
	SHLL
	SHRQ
	SHRL
	SARQ
	SARL
	SHLXQ
	SHLXL
	SHRXQ
	SHRXL

	// Moves on a condition, and jumps.
	CMOVQCS
	CMOVQCC
	CMOVQEQ
	CMOVQNE
	CMOVQLS
	CMOVQHI
	CMOVQLT
	CMOVQGE
	CMOVQLE
	CMOVQGT
	JMP
	JOS
	JOC
	JCS
	JCC
	JEQ
	JNE
	JLS
	JHI
	JMI
	JPL
	JPS
	JPC
	JLT
	JGE
	JLE
	JGT

	// Without operands, and hints to the cache.
	RET
	VZEROUPPER
	SFENCE
	PREFETCHT0
	PREFETCHT1
	PREFETCHT2
	PREFETCHNTA

	// Mask registers.
	KMOVB
	KMOVW
	KMOVD
	KMOVQ
	KANDB
	KANDW
	KANDD
	KANDQ
	KANDNB
	KANDNW
	KANDND
	KANDNQ
	KORB
	KORW
	KORD
	KORQ
	KXNORB
	KXNORW
	KXNORD
	KXNORQ
	KXORB
	KXORW
	KXORD
	KXORQ
	KNOTB
	KNOTW
	KNOTD
	KNOTQ
	KORTESTB
	KORTESTW
	KORTESTD
	KORTESTQ
	KTESTB
	KTESTW
	KTESTD
	KTESTQ
	KUNPCKBW
	KUNPCKWD
	KUNPCKDQ
	KSHIFTLB
	KSHIFTLW
	KSHIFTLD
	KSHIFTLQ
	KSHIFTRB
	KSHIFTRW
	KSHIFTRD
	KSHIFTRQ

	// Moves of vectors.
	VMOVUPS
	VMOVUPD
	VMOVAPS
	VMOVAPD
	VMOVDQU
	VMOVDQA
	VMOVDQU8
	VMOVDQU16
	VMOVDQU32
	VMOVDQU64
	VMOVDQA32
	VMOVDQA64
	VMOVSS
	VMOVSD
	VMOVD
	VMOVQ
	VMOVNTPS
	VMOVSLDUP
	VMOVSHDUP
	VMASKMOVPS
	VMASKMOVPD
	VPMASKMOVD
	VPMASKMOVQ
	VMOVMSKPS
	VMOVMSKPD
	VPMOVMSKB
	VBROADCASTSS
	VBROADCASTSD
	VPBROADCASTB
	VPBROADCASTW
	VPBROADCASTD
	VPBROADCASTQ
	VBROADCASTF128
	VBROADCASTF32X4
	VBROADCASTF64X4
	VGATHERDPS
	VPGATHERDD
	VGATHERDPD
	VPGATHERDQ
	VSCATTERDPS
	VPSCATTERDD
	VSCATTERDPD
	VPSCATTERDQ
	VCOMPRESSPS
	VEXPANDPS
	VPCOMPRESSD
	VPEXPANDD

	// Arithmetic of floats.
	VADDPS
	VADDPD
	VADDSS
	VADDSD
	VMULPS
	VMULPD
	VMULSS
	VMULSD
	VSUBPS
	VSUBPD
	VSUBSS
	VSUBSD
	VMINPS
	VMINPD
	VMINSS
	VMINSD
	VDIVPS
	VDIVPD
	VDIVSS
	VDIVSD
	VMAXPS
	VMAXPD
	VMAXSS
	VMAXSD
	VSQRTPS
	VSQRTPD
	VSQRTSS
	VSQRTSD
	VANDPS
	VANDPD
	VANDNPS
	VANDNPD
	VORPS
	VORPD
	VXORPS
	VXORPD
	VFMADD132PS
	VFMADD132PD
	VFMADD132SS
	VFMADD132SD
	VFMSUB132PS
	VFMSUB132PD
	VFMSUB132SS
	VFMSUB132SD
	VFNMADD132PS
	VFNMADD132PD
	VFNMADD132SS
	VFNMADD132SD
	VFNMSUB132PS
	VFNMSUB132PD
	VFNMSUB132SS
	VFNMSUB132SD
	VFMADD213PS
	VFMADD213PD
	VFMADD213SS
	VFMADD213SD
	VFMSUB213PS
	VFMSUB213PD
	VFMSUB213SS
	VFMSUB213SD
	VFNMADD213PS
	VFNMADD213PD
	VFNMADD213SS
	VFNMADD213SD
	VFNMSUB213PS
	VFNMSUB213PD
	VFNMSUB213SS
	VFNMSUB213SD
	VFMADD231PS
	VFMADD231PD
	VFMADD231SS
	VFMADD231SD
	VFMSUB231PS
	VFMSUB231PD
	VFMSUB231SS
	VFMSUB231SD
	VFNMADD231PS
	VFNMADD231PD
	VFNMADD231SS
	VFNMADD231SD
	VFNMSUB231PS
	VFNMSUB231PD
	VFNMSUB231SS
	VFNMSUB231SD
	VRSQRTPS
	VRCPPS
	VRSQRT14PS
	VRSQRT14PD
	VRCP14PS
	VRCP14PD
	VSCALEFPS
	VSCALEFPD
	VGETEXPPS
	VGETEXPPD
	VGETMANTPS
	VGETMANTPD
	VRNDSCALEPS
	VRNDSCALEPD
	VREDUCEPS
	VREDUCEPD
	VRANGEPS
	VRANGEPD
	VFIXUPIMMPS
	VFIXUPIMMPD
	VROUNDPS
	VROUNDPD
	VDPBF16PS

	// Comparisons: into a mask register with AVX-512, into a vector of all or no bits with AVX.
	VCMPPS
	VCMPPD
	VFPCLASSPS
	VFPCLASSPD
	VTESTPS
	VTESTPD
	VPTEST
	VPCMPEQB
	VPCMPEQW
	VPCMPEQD
	VPCMPEQQ
	VPCMPGTB
	VPCMPGTW
	VPCMPGTD
	VPCMPGTQ
	VPCMPD
	VPCMPUD
	VPCMPQ
	VPCMPUQ
	VPCMPB
	VPCMPUB
	VPCMPW
	VPCMPUW
	VPTESTMD
	VPTESTMQ
	VPTESTMB
	VPTESTMW
	VPTESTNMD
	VPTESTNMQ
	VPTESTNMB
	VPTESTNMW

	// Integers.
	VPADDB
	VPADDW
	VPADDD
	VPADDQ
	VPSUBB
	VPSUBW
	VPSUBD
	VPSUBQ
	VPMULLW
	VPMULLD
	VPMULUDQ
	VPMULDQ
	VPMADDWD
	VPMAXSB
	VPMAXUB
	VPMINSB
	VPMINUB
	VPMAXSD
	VPMAXUD
	VPMINSD
	VPMINUD
	VPMULLQ
	VPMAXSQ
	VPMAXUQ
	VPMINSQ
	VPMINUQ
	VPABSB
	VPABSD
	VPABSQ
	VPLZCNTD
	VPAND
	VPANDD
	VPANDQ
	VPANDN
	VPANDND
	VPANDNQ
	VPOR
	VPORD
	VPORQ
	VPXOR
	VPXORD
	VPXORQ
	VPTERNLOGD
	VPTERNLOGQ

	// Shifts: by a constant, by the low 64 bits of an X register, lane by lane.
	VPSLLW
	VPSRLW
	VPSRAW
	VPSLLD
	VPSRLD
	VPSRAD
	VPSLLQ
	VPSRLQ
	VPSRAQ
	VPSLLVD
	VPSLLVQ
	VPSRLVD
	VPSRLVQ
	VPSRAVD
	VPSRAVQ
	VPROLVD
	VPRORVD
	VPROLD
	VPRORD

	// Permutations, shuffles and blends.
	VUNPCKLPS
	VUNPCKLPD
	VUNPCKHPS
	VUNPCKHPD
	VPUNPCKLBW
	VPUNPCKLWD
	VPUNPCKLDQ
	VPUNPCKLQDQ
	VPUNPCKHBW
	VPUNPCKHWD
	VPUNPCKHDQ
	VPUNPCKHQDQ
	VPACKSSDW
	VPACKUSDW
	VPACKSSWB
	VPACKUSWB
	VSHUFPS
	VSHUFPD
	VPSHUFD
	VPSHUFB
	VPERMILPS
	VPERMILPD
	VPERMPS
	VPERMD
	VPERMPD
	VPERMQ
	VPERMW
	VPERMT2PS
	VPERMI2PS
	VPERMT2PD
	VPERMI2PD
	VPERMT2D
	VPERMI2D
	VPERMT2Q
	VPERMI2Q
	VPERMT2W
	VPERMI2W
	VPERM2F128
	VPERM2I128
	VSHUFF32X4
	VSHUFF64X2
	VSHUFI32X4
	VSHUFI64X2
	VALIGND
	VALIGNQ
	VPALIGNR
	VINSERTF128
	VEXTRACTF128
	VINSERTI128
	VEXTRACTI128
	VINSERTF32X4
	VEXTRACTF32X4
	VINSERTI32X4
	VEXTRACTI32X4
	VINSERTF64X4
	VEXTRACTF64X4
	VINSERTI64X4
	VEXTRACTI64X4
	VPEXTRB
	VPINSRB
	VPEXTRW
	VPINSRW
	VPEXTRD
	VPINSRD
	VPEXTRQ
	VPINSRQ
	VBLENDVPS
	VBLENDVPD
	VPBLENDVB
	VBLENDPS
	VBLENDPD
	VPBLENDD
	VBLENDMPS
	VBLENDMPD
	VPBLENDMD
	VPBLENDMQ
	VPBLENDMB
	VPBLENDMW

	// Conversions.
	VCVTDQ2PS
	VCVTPS2DQ
	VCVTTPS2DQ
	VCVTUDQ2PS
	VCVTPS2UDQ
	VCVTTPS2UDQ
	VCVTPS2PD
	VCVTPD2PS
	VCVTDQ2PD
	VCVTPD2DQ
	VCVTTPD2DQ
	VCVTQQ2PS
	VCVTQQ2PD
	VCVTPS2QQ
	VCVTTPS2QQ
	VCVTPD2QQ
	VCVTTPD2QQ
	VCVTPH2PS
	VCVTPS2PH
	VCVTNEPS2BF16
	VCVTNE2PS2BF16
	VPMOVZXBW
	VPMOVSXBW
	VPMOVZXBD
	VPMOVSXBD
	VPMOVZXBQ
	VPMOVSXBQ
	VPMOVZXWD
	VPMOVSXWD
	VPMOVZXWQ
	VPMOVSXWQ
	VPMOVZXDQ
	VPMOVSXDQ
	VPMOVWB
	VPMOVSWB
	VPMOVUSWB
	VPMOVDB
	VPMOVSDB
	VPMOVUSDB
	VPMOVQB
	VPMOVSQB
	VPMOVUSQB
	VPMOVDW
	VPMOVSDW
	VPMOVUSDW
	VPMOVQW
	VPMOVSQW
	VPMOVUSQW
	VPMOVQD
	VPMOVSQD
	VPMOVUSQD
	VPMOVM2B
	VPMOVB2M
	VPMOVM2W
	VPMOVW2M
	VPMOVM2D
	VPMOVD2M
	VPMOVM2Q
	VPMOVQ2M

	opCount
)

// Other names of jumps.
const (
	JZ  = JEQ
	JNZ = JNE
)

// table has the name of every instruction and how it is encoded: those of vectors and
// masks by their forms, the first that the operands fit; the others have a case in
// general.go.
var table = [opCount]struct {
	name  string
	forms []form
}{

	// General registers. L means 32 bits, which clears the upper half of the destination; Q means 64.
	MOVQ:    {name: "MOVQ"},
	MOVL:    {name: "MOVL"},
	MOVW:    {name: "MOVW"},
	MOVB:    {name: "MOVB"},
	MOVWLZX: {name: "MOVWLZX"},
	MOVBLZX: {name: "MOVBLZX"},
	MOVLQSX: {name: "MOVLQSX"},
	LEAQ:    {name: "LEAQ"},
	ADDQ:    {name: "ADDQ"},
	ADDL:    {name: "ADDL"},
	SUBQ:    {name: "SUBQ"},
	SUBL:    {name: "SUBL"},
	ANDQ:    {name: "ANDQ"},
	ANDL:    {name: "ANDL"},
	ORQ:     {name: "ORQ"},
	ORL:     {name: "ORL"},
	XORQ:    {name: "XORQ"},
	XORL:    {name: "XORL"},
	CMPQ:    {name: "CMPQ"},
	CMPL:    {name: "CMPL"},
	CMPB:    {name: "CMPB"},
	TESTQ:   {name: "TESTQ"},
	TESTL:   {name: "TESTL"},
	TESTB:   {name: "TESTB"},
	INCQ:    {name: "INCQ"},
	INCL:    {name: "INCL"},
	DECQ:    {name: "DECQ"},
	DECL:    {name: "DECL"},
	NEGQ:    {name: "NEGQ"},
	NEGL:    {name: "NEGL"},
	NOTQ:    {name: "NOTQ"},
	NOTL:    {name: "NOTL"},
	IMULQ:   {name: "IMULQ"},
	IMUL3Q:  {name: "IMUL3Q"},
	SHLQ:    {name: "SHLQ"},
	SHLL:    {name: "SHLL"},
	SHRQ:    {name: "SHRQ"},
	SHRL:    {name: "SHRL"},
	SARQ:    {name: "SARQ"},
	SARL:    {name: "SARL"},
	SHLXQ:   {"SHLXQ", []form{{vrm, r, rm8, p66 | m38 | vw1 | vex, 0xf7, 0}}},
	SHLXL:   {"SHLXL", []form{{vrm, r, rm4, p66 | m38 | vex, 0xf7, 0}}},
	SHRXQ:   {"SHRXQ", []form{{vrm, r, rm8, pF2 | m38 | vw1 | vex, 0xf7, 0}}},
	SHRXL:   {"SHRXL", []form{{vrm, r, rm4, pF2 | m38 | vex, 0xf7, 0}}},

	// Moves on a condition, and jumps.
	CMOVQCS: {name: "CMOVQCS"},
	CMOVQCC: {name: "CMOVQCC"},
	CMOVQEQ: {name: "CMOVQEQ"},
	CMOVQNE: {name: "CMOVQNE"},
	CMOVQLS: {name: "CMOVQLS"},
	CMOVQHI: {name: "CMOVQHI"},
	CMOVQLT: {name: "CMOVQLT"},
	CMOVQGE: {name: "CMOVQGE"},
	CMOVQLE: {name: "CMOVQLE"},
	CMOVQGT: {name: "CMOVQGT"},
	JMP:     {name: "JMP"},
	JOS:     {name: "JOS"},
	JOC:     {name: "JOC"},
	JCS:     {name: "JCS"},
	JCC:     {name: "JCC"},
	JEQ:     {name: "JEQ"},
	JNE:     {name: "JNE"},
	JLS:     {name: "JLS"},
	JHI:     {name: "JHI"},
	JMI:     {name: "JMI"},
	JPL:     {name: "JPL"},
	JPS:     {name: "JPS"},
	JPC:     {name: "JPC"},
	JLT:     {name: "JLT"},
	JGE:     {name: "JGE"},
	JLE:     {name: "JLE"},
	JGT:     {name: "JGT"},

	// Without operands, and hints to the cache.
	RET:         {name: "RET"},
	VZEROUPPER:  {name: "VZEROUPPER"},
	SFENCE:      {name: "SFENCE"},
	PREFETCHT0:  {name: "PREFETCHT0"},
	PREFETCHT1:  {name: "PREFETCHT1"},
	PREFETCHT2:  {name: "PREFETCHT2"},
	PREFETCHNTA: {name: "PREFETCHNTA"},

	// Mask registers.
	KMOVB:    {"KMOVB", []form{{rm, k, k, p66 | m0F | vex, 0x90, 0}, {rm, k, m1, p66 | m0F | vex, 0x90, 0}, {mr, k, m1, p66 | m0F | vex, 0x91, 0}, {rm, k, r, p66 | m0F | vex, 0x92, 0}, {rm, r, k, p66 | m0F | vex, 0x93, 0}}},
	KMOVW:    {"KMOVW", []form{{rm, k, k, np | m0F | vex, 0x90, 0}, {rm, k, m2, np | m0F | vex, 0x90, 0}, {mr, k, m2, np | m0F | vex, 0x91, 0}, {rm, k, r, np | m0F | vex, 0x92, 0}, {rm, r, k, np | m0F | vex, 0x93, 0}}},
	KMOVD:    {"KMOVD", []form{{rm, k, k, p66 | m0F | vw1 | vex, 0x90, 0}, {rm, k, m4, p66 | m0F | vw1 | vex, 0x90, 0}, {mr, k, m4, p66 | m0F | vw1 | vex, 0x91, 0}, {rm, k, r, pF2 | m0F | vex, 0x92, 0}, {rm, r, k, pF2 | m0F | vex, 0x93, 0}}},
	KMOVQ:    {"KMOVQ", []form{{rm, k, k, np | m0F | vw1 | vex, 0x90, 0}, {rm, k, m8, np | m0F | vw1 | vex, 0x90, 0}, {mr, k, m8, np | m0F | vw1 | vex, 0x91, 0}, {rm, k, r, pF2 | m0F | vw1 | vex, 0x92, 0}, {rm, r, k, pF2 | m0F | vw1 | vex, 0x93, 0}}},
	KANDB:    {"KANDB", []form{{rvm, k, k, p66 | m0F | l1 | vex, 0x41, 0}}},
	KANDW:    {"KANDW", []form{{rvm, k, k, np | m0F | l1 | vex, 0x41, 0}}},
	KANDD:    {"KANDD", []form{{rvm, k, k, p66 | m0F | vw1 | l1 | vex, 0x41, 0}}},
	KANDQ:    {"KANDQ", []form{{rvm, k, k, np | m0F | vw1 | l1 | vex, 0x41, 0}}},
	KANDNB:   {"KANDNB", []form{{rvm, k, k, p66 | m0F | l1 | vex, 0x42, 0}}},
	KANDNW:   {"KANDNW", []form{{rvm, k, k, np | m0F | l1 | vex, 0x42, 0}}},
	KANDND:   {"KANDND", []form{{rvm, k, k, p66 | m0F | vw1 | l1 | vex, 0x42, 0}}},
	KANDNQ:   {"KANDNQ", []form{{rvm, k, k, np | m0F | vw1 | l1 | vex, 0x42, 0}}},
	KORB:     {"KORB", []form{{rvm, k, k, p66 | m0F | l1 | vex, 0x45, 0}}},
	KORW:     {"KORW", []form{{rvm, k, k, np | m0F | l1 | vex, 0x45, 0}}},
	KORD:     {"KORD", []form{{rvm, k, k, p66 | m0F | vw1 | l1 | vex, 0x45, 0}}},
	KORQ:     {"KORQ", []form{{rvm, k, k, np | m0F | vw1 | l1 | vex, 0x45, 0}}},
	KXNORB:   {"KXNORB", []form{{rvm, k, k, p66 | m0F | l1 | vex, 0x46, 0}}},
	KXNORW:   {"KXNORW", []form{{rvm, k, k, np | m0F | l1 | vex, 0x46, 0}}},
	KXNORD:   {"KXNORD", []form{{rvm, k, k, p66 | m0F | vw1 | l1 | vex, 0x46, 0}}},
	KXNORQ:   {"KXNORQ", []form{{rvm, k, k, np | m0F | vw1 | l1 | vex, 0x46, 0}}},
	KXORB:    {"KXORB", []form{{rvm, k, k, p66 | m0F | l1 | vex, 0x47, 0}}},
	KXORW:    {"KXORW", []form{{rvm, k, k, np | m0F | l1 | vex, 0x47, 0}}},
	KXORD:    {"KXORD", []form{{rvm, k, k, p66 | m0F | vw1 | l1 | vex, 0x47, 0}}},
	KXORQ:    {"KXORQ", []form{{rvm, k, k, np | m0F | vw1 | l1 | vex, 0x47, 0}}},
	KNOTB:    {"KNOTB", []form{{rm, k, k, p66 | m0F | vex, 0x44, 0}}},
	KNOTW:    {"KNOTW", []form{{rm, k, k, np | m0F | vex, 0x44, 0}}},
	KNOTD:    {"KNOTD", []form{{rm, k, k, p66 | m0F | vw1 | vex, 0x44, 0}}},
	KNOTQ:    {"KNOTQ", []form{{rm, k, k, np | m0F | vw1 | vex, 0x44, 0}}},
	KORTESTB: {"KORTESTB", []form{{rm, k, k, p66 | m0F | vex, 0x98, 0}}},
	KORTESTW: {"KORTESTW", []form{{rm, k, k, np | m0F | vex, 0x98, 0}}},
	KORTESTD: {"KORTESTD", []form{{rm, k, k, p66 | m0F | vw1 | vex, 0x98, 0}}},
	KORTESTQ: {"KORTESTQ", []form{{rm, k, k, np | m0F | vw1 | vex, 0x98, 0}}},
	KTESTB:   {"KTESTB", []form{{rm, k, k, p66 | m0F | vex, 0x99, 0}}},
	KTESTW:   {"KTESTW", []form{{rm, k, k, np | m0F | vex, 0x99, 0}}},
	KTESTD:   {"KTESTD", []form{{rm, k, k, p66 | m0F | vw1 | vex, 0x99, 0}}},
	KTESTQ:   {"KTESTQ", []form{{rm, k, k, np | m0F | vw1 | vex, 0x99, 0}}},
	KUNPCKBW: {"KUNPCKBW", []form{{rvm, k, k, p66 | m0F | l1 | vex, 0x4b, 0}}},
	KUNPCKWD: {"KUNPCKWD", []form{{rvm, k, k, np | m0F | l1 | vex, 0x4b, 0}}},
	KUNPCKDQ: {"KUNPCKDQ", []form{{rvm, k, k, np | m0F | vw1 | l1 | vex, 0x4b, 0}}},
	KSHIFTLB: {"KSHIFTLB", []form{{rmi, k, k, p66 | m3A | vex, 0x32, 0}}},
	KSHIFTLW: {"KSHIFTLW", []form{{rmi, k, k, p66 | m3A | vw1 | vex, 0x32, 0}}},
	KSHIFTLD: {"KSHIFTLD", []form{{rmi, k, k, p66 | m3A | vex, 0x33, 0}}},
	KSHIFTLQ: {"KSHIFTLQ", []form{{rmi, k, k, p66 | m3A | vw1 | vex, 0x33, 0}}},
	KSHIFTRB: {"KSHIFTRB", []form{{rmi, k, k, p66 | m3A | vex, 0x30, 0}}},
	KSHIFTRW: {"KSHIFTRW", []form{{rmi, k, k, p66 | m3A | vw1 | vex, 0x30, 0}}},
	KSHIFTRD: {"KSHIFTRD", []form{{rmi, k, k, p66 | m3A | vex, 0x31, 0}}},
	KSHIFTRQ: {"KSHIFTRQ", []form{{rmi, k, k, p66 | m3A | vw1 | vex, 0x31, 0}}},

	// Moves of vectors.
	VMOVUPS:         {"VMOVUPS", []form{{mr, v, vm, np | m0F | both, 0x11, 0}, {rm, v, vm, np | m0F | both, 0x10, 0}}},
	VMOVUPD:         {"VMOVUPD", []form{{mr, v, vm, p66 | m0F | ew1 | both, 0x11, 0}, {rm, v, vm, p66 | m0F | ew1 | both, 0x10, 0}}},
	VMOVAPS:         {"VMOVAPS", []form{{mr, v, vm, np | m0F | both, 0x29, 0}, {rm, v, vm, np | m0F | both, 0x28, 0}}},
	VMOVAPD:         {"VMOVAPD", []form{{mr, v, vm, p66 | m0F | ew1 | both, 0x29, 0}, {rm, v, vm, p66 | m0F | ew1 | both, 0x28, 0}}},
	VMOVDQU:         {"VMOVDQU", []form{{mr, v, vm, pF3 | m0F | vex, 0x7f, 0}, {rm, v, vm, pF3 | m0F | vex, 0x6f, 0}}},
	VMOVDQA:         {"VMOVDQA", []form{{mr, v, vm, p66 | m0F | vex, 0x7f, 0}, {rm, v, vm, p66 | m0F | vex, 0x6f, 0}}},
	VMOVDQU8:        {"VMOVDQU8", []form{{mr, v, vm, pF2 | m0F | evex, 0x7f, 0}, {rm, v, vm, pF2 | m0F | evex, 0x6f, 0}}},
	VMOVDQU16:       {"VMOVDQU16", []form{{mr, v, vm, pF2 | m0F | ew1 | evex, 0x7f, 0}, {rm, v, vm, pF2 | m0F | ew1 | evex, 0x6f, 0}}},
	VMOVDQU32:       {"VMOVDQU32", []form{{mr, v, vm, pF3 | m0F | evex, 0x7f, 0}, {rm, v, vm, pF3 | m0F | evex, 0x6f, 0}}},
	VMOVDQU64:       {"VMOVDQU64", []form{{mr, v, vm, pF3 | m0F | ew1 | evex, 0x7f, 0}, {rm, v, vm, pF3 | m0F | ew1 | evex, 0x6f, 0}}},
	VMOVDQA32:       {"VMOVDQA32", []form{{mr, v, vm, p66 | m0F | evex, 0x7f, 0}, {rm, v, vm, p66 | m0F | evex, 0x6f, 0}}},
	VMOVDQA64:       {"VMOVDQA64", []form{{mr, v, vm, p66 | m0F | ew1 | evex, 0x7f, 0}, {rm, v, vm, p66 | m0F | ew1 | evex, 0x6f, 0}}},
	VMOVSS:          {"VMOVSS", []form{{rm, x, m4, pF3 | m0F | both, 0x10, 0}, {mr, x, m4, pF3 | m0F | both, 0x11, 0}, {mvr, x, x, pF3 | m0F | both, 0x11, 0}}},
	VMOVSD:          {"VMOVSD", []form{{rm, x, m8, pF2 | m0F | ew1 | both, 0x10, 0}, {mr, x, m8, pF2 | m0F | ew1 | both, 0x11, 0}, {mvr, x, x, pF2 | m0F | ew1 | both, 0x11, 0}}},
	VMOVD:           {"VMOVD", []form{{rm, x, rm4, p66 | m0F | both | unmasked, 0x6e, 0}, {mr, x, rm4, p66 | m0F | both | unmasked, 0x7e, 0}}},
	VMOVQ:           {"VMOVQ", []form{{rm, x, rm8, p66 | m0F | vw1 | ew1 | both | unmasked, 0x6e, 0}, {mr, x, rm8, p66 | m0F | vw1 | ew1 | both | unmasked, 0x7e, 0}}},
	VMOVNTPS:        {"VMOVNTPS", []form{{mr, v, m, np | m0F | both | unmasked, 0x2b, 0}}},
	VMOVSLDUP:       {"VMOVSLDUP", []form{{rm, v, vm, pF3 | m0F | both, 0x12, 0}}},
	VMOVSHDUP:       {"VMOVSHDUP", []form{{rm, v, vm, pF3 | m0F | both, 0x16, 0}}},
	VMASKMOVPS:      {"VMASKMOVPS", []form{{rvm, v, m, p66 | m38 | vex, 0x2c, 0}, {mvr, v, m, p66 | m38 | vex, 0x2e, 0}}},
	VMASKMOVPD:      {"VMASKMOVPD", []form{{rvm, v, m, p66 | m38 | vex, 0x2d, 0}, {mvr, v, m, p66 | m38 | vex, 0x2f, 0}}},
	VPMASKMOVD:      {"VPMASKMOVD", []form{{rvm, v, m, p66 | m38 | vex, 0x8c, 0}, {mvr, v, m, p66 | m38 | vex, 0x8e, 0}}},
	VPMASKMOVQ:      {"VPMASKMOVQ", []form{{rvm, v, m, p66 | m38 | vw1 | vex, 0x8c, 0}, {mvr, v, m, p66 | m38 | vw1 | vex, 0x8e, 0}}},
	VMOVMSKPS:       {"VMOVMSKPS", []form{{rm, r, v, np | m0F | vex, 0x50, 0}}},
	VMOVMSKPD:       {"VMOVMSKPD", []form{{rm, r, v, p66 | m0F | vex, 0x50, 0}}},
	VPMOVMSKB:       {"VPMOVMSKB", []form{{rm, r, v, p66 | m0F | vex, 0xd7, 0}}},
	VBROADCASTSS:    {"VBROADCASTSS", []form{{rm, v, xm4, p66 | m38 | both, 0x18, 0}}},
	VBROADCASTSD:    {"VBROADCASTSD", []form{{rm, v, xm8, p66 | m38 | ew1 | both | from32, 0x19, 0}}},
	VPBROADCASTB:    {"VPBROADCASTB", []form{{rm, v, xm1, p66 | m38 | both, 0x78, 0}, {rm, v, r, p66 | m38 | evex, 0x7a, 0}}},
	VPBROADCASTW:    {"VPBROADCASTW", []form{{rm, v, xm2, p66 | m38 | both, 0x79, 0}, {rm, v, r, p66 | m38 | evex, 0x7b, 0}}},
	VPBROADCASTD:    {"VPBROADCASTD", []form{{rm, v, xm4, p66 | m38 | both, 0x58, 0}, {rm, v, r, p66 | m38 | evex, 0x7c, 0}}},
	VPBROADCASTQ:    {"VPBROADCASTQ", []form{{rm, v, xm8, p66 | m38 | ew1 | both, 0x59, 0}, {rm, v, r, p66 | m38 | ew1 | evex, 0x7c, 0}}},
	VBROADCASTF128:  {"VBROADCASTF128", []form{{rm, v, m16, p66 | m38 | vex | from32, 0x1a, 0}}},
	VBROADCASTF32X4: {"VBROADCASTF32X4", []form{{rm, v, m16, p66 | m38 | evex | from32, 0x1a, 0}}},
	VBROADCASTF64X4: {"VBROADCASTF64X4", []form{{rm, v, m32, p66 | m38 | ew1 | evex | only64, 0x1b, 0}}},
	VGATHERDPS:      {"VGATHERDPS", []form{{vrm, v, vs4, p66 | m38 | vex, 0x92, 0}, {rm, v, vs4, p66 | m38 | evex, 0x92, 0}}},
	VPGATHERDD:      {"VPGATHERDD", []form{{vrm, v, vs4, p66 | m38 | vex, 0x90, 0}, {rm, v, vs4, p66 | m38 | evex, 0x90, 0}}},
	VGATHERDPD:      {"VGATHERDPD", []form{{vrm, v, hs8, p66 | m38 | vw1 | vex, 0x92, 0}, {rm, v, hs8, p66 | m38 | ew1 | evex, 0x92, 0}}},
	VPGATHERDQ:      {"VPGATHERDQ", []form{{vrm, v, hs8, p66 | m38 | vw1 | vex, 0x90, 0}, {rm, v, hs8, p66 | m38 | ew1 | evex, 0x90, 0}}},
	VSCATTERDPS:     {"VSCATTERDPS", []form{{mr, v, vs4, p66 | m38 | evex, 0xa2, 0}}},
	VPSCATTERDD:     {"VPSCATTERDD", []form{{mr, v, vs4, p66 | m38 | evex, 0xa0, 0}}},
	VSCATTERDPD:     {"VSCATTERDPD", []form{{mr, v, hs8, p66 | m38 | ew1 | evex, 0xa2, 0}}},
	VPSCATTERDQ:     {"VPSCATTERDQ", []form{{mr, v, hs8, p66 | m38 | ew1 | evex, 0xa0, 0}}},
	VCOMPRESSPS:     {"VCOMPRESSPS", []form{{mr, v, ve4, p66 | m38 | evex, 0x8a, 0}}},
	VEXPANDPS:       {"VEXPANDPS", []form{{rm, v, ve4, p66 | m38 | evex, 0x88, 0}}},
	VPCOMPRESSD:     {"VPCOMPRESSD", []form{{mr, v, ve4, p66 | m38 | evex, 0x8b, 0}}},
	VPEXPANDD:       {"VPEXPANDD", []form{{rm, v, ve4, p66 | m38 | evex, 0x89, 0}}},

	// Arithmetic of floats.
	VADDPS:       {"VADDPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x58, 0}}},
	VADDPD:       {"VADDPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x58, 0}}},
	VADDSS:       {"VADDSS", []form{{rvm, x, xm4, pF3 | m0F | both, 0x58, 0}}},
	VADDSD:       {"VADDSD", []form{{rvm, x, xm8, pF2 | m0F | ew1 | both, 0x58, 0}}},
	VMULPS:       {"VMULPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x59, 0}}},
	VMULPD:       {"VMULPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x59, 0}}},
	VMULSS:       {"VMULSS", []form{{rvm, x, xm4, pF3 | m0F | both, 0x59, 0}}},
	VMULSD:       {"VMULSD", []form{{rvm, x, xm8, pF2 | m0F | ew1 | both, 0x59, 0}}},
	VSUBPS:       {"VSUBPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x5c, 0}}},
	VSUBPD:       {"VSUBPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x5c, 0}}},
	VSUBSS:       {"VSUBSS", []form{{rvm, x, xm4, pF3 | m0F | both, 0x5c, 0}}},
	VSUBSD:       {"VSUBSD", []form{{rvm, x, xm8, pF2 | m0F | ew1 | both, 0x5c, 0}}},
	VMINPS:       {"VMINPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x5d, 0}}},
	VMINPD:       {"VMINPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x5d, 0}}},
	VMINSS:       {"VMINSS", []form{{rvm, x, xm4, pF3 | m0F | both, 0x5d, 0}}},
	VMINSD:       {"VMINSD", []form{{rvm, x, xm8, pF2 | m0F | ew1 | both, 0x5d, 0}}},
	VDIVPS:       {"VDIVPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x5e, 0}}},
	VDIVPD:       {"VDIVPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x5e, 0}}},
	VDIVSS:       {"VDIVSS", []form{{rvm, x, xm4, pF3 | m0F | both, 0x5e, 0}}},
	VDIVSD:       {"VDIVSD", []form{{rvm, x, xm8, pF2 | m0F | ew1 | both, 0x5e, 0}}},
	VMAXPS:       {"VMAXPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x5f, 0}}},
	VMAXPD:       {"VMAXPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x5f, 0}}},
	VMAXSS:       {"VMAXSS", []form{{rvm, x, xm4, pF3 | m0F | both, 0x5f, 0}}},
	VMAXSD:       {"VMAXSD", []form{{rvm, x, xm8, pF2 | m0F | ew1 | both, 0x5f, 0}}},
	VSQRTPS:      {"VSQRTPS", []form{{rm, v, vm, np | m0F | b4 | both, 0x51, 0}}},
	VSQRTPD:      {"VSQRTPD", []form{{rm, v, vm, p66 | m0F | b8 | ew1 | both, 0x51, 0}}},
	VSQRTSS:      {"VSQRTSS", []form{{rvm, x, xm4, pF3 | m0F | both, 0x51, 0}}},
	VSQRTSD:      {"VSQRTSD", []form{{rvm, x, xm8, pF2 | m0F | ew1 | both, 0x51, 0}}},
	VANDPS:       {"VANDPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x54, 0}}},
	VANDPD:       {"VANDPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x54, 0}}},
	VANDNPS:      {"VANDNPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x55, 0}}},
	VANDNPD:      {"VANDNPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x55, 0}}},
	VORPS:        {"VORPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x56, 0}}},
	VORPD:        {"VORPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x56, 0}}},
	VXORPS:       {"VXORPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x57, 0}}},
	VXORPD:       {"VXORPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x57, 0}}},
	VFMADD132PS:  {"VFMADD132PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x98, 0}}},
	VFMADD132PD:  {"VFMADD132PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0x98, 0}}},
	VFMADD132SS:  {"VFMADD132SS", []form{{rvm, x, xm4, p66 | m38 | both, 0x99, 0}}},
	VFMADD132SD:  {"VFMADD132SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0x99, 0}}},
	VFMSUB132PS:  {"VFMSUB132PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x9a, 0}}},
	VFMSUB132PD:  {"VFMSUB132PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0x9a, 0}}},
	VFMSUB132SS:  {"VFMSUB132SS", []form{{rvm, x, xm4, p66 | m38 | both, 0x9b, 0}}},
	VFMSUB132SD:  {"VFMSUB132SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0x9b, 0}}},
	VFNMADD132PS: {"VFNMADD132PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x9c, 0}}},
	VFNMADD132PD: {"VFNMADD132PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0x9c, 0}}},
	VFNMADD132SS: {"VFNMADD132SS", []form{{rvm, x, xm4, p66 | m38 | both, 0x9d, 0}}},
	VFNMADD132SD: {"VFNMADD132SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0x9d, 0}}},
	VFNMSUB132PS: {"VFNMSUB132PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x9e, 0}}},
	VFNMSUB132PD: {"VFNMSUB132PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0x9e, 0}}},
	VFNMSUB132SS: {"VFNMSUB132SS", []form{{rvm, x, xm4, p66 | m38 | both, 0x9f, 0}}},
	VFNMSUB132SD: {"VFNMSUB132SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0x9f, 0}}},
	VFMADD213PS:  {"VFMADD213PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0xa8, 0}}},
	VFMADD213PD:  {"VFMADD213PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0xa8, 0}}},
	VFMADD213SS:  {"VFMADD213SS", []form{{rvm, x, xm4, p66 | m38 | both, 0xa9, 0}}},
	VFMADD213SD:  {"VFMADD213SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0xa9, 0}}},
	VFMSUB213PS:  {"VFMSUB213PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0xaa, 0}}},
	VFMSUB213PD:  {"VFMSUB213PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0xaa, 0}}},
	VFMSUB213SS:  {"VFMSUB213SS", []form{{rvm, x, xm4, p66 | m38 | both, 0xab, 0}}},
	VFMSUB213SD:  {"VFMSUB213SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0xab, 0}}},
	VFNMADD213PS: {"VFNMADD213PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0xac, 0}}},
	VFNMADD213PD: {"VFNMADD213PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0xac, 0}}},
	VFNMADD213SS: {"VFNMADD213SS", []form{{rvm, x, xm4, p66 | m38 | both, 0xad, 0}}},
	VFNMADD213SD: {"VFNMADD213SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0xad, 0}}},
	VFNMSUB213PS: {"VFNMSUB213PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0xae, 0}}},
	VFNMSUB213PD: {"VFNMSUB213PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0xae, 0}}},
	VFNMSUB213SS: {"VFNMSUB213SS", []form{{rvm, x, xm4, p66 | m38 | both, 0xaf, 0}}},
	VFNMSUB213SD: {"VFNMSUB213SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0xaf, 0}}},
	VFMADD231PS:  {"VFMADD231PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0xb8, 0}}},
	VFMADD231PD:  {"VFMADD231PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0xb8, 0}}},
	VFMADD231SS:  {"VFMADD231SS", []form{{rvm, x, xm4, p66 | m38 | both, 0xb9, 0}}},
	VFMADD231SD:  {"VFMADD231SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0xb9, 0}}},
	VFMSUB231PS:  {"VFMSUB231PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0xba, 0}}},
	VFMSUB231PD:  {"VFMSUB231PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0xba, 0}}},
	VFMSUB231SS:  {"VFMSUB231SS", []form{{rvm, x, xm4, p66 | m38 | both, 0xbb, 0}}},
	VFMSUB231SD:  {"VFMSUB231SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0xbb, 0}}},
	VFNMADD231PS: {"VFNMADD231PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0xbc, 0}}},
	VFNMADD231PD: {"VFNMADD231PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0xbc, 0}}},
	VFNMADD231SS: {"VFNMADD231SS", []form{{rvm, x, xm4, p66 | m38 | both, 0xbd, 0}}},
	VFNMADD231SD: {"VFNMADD231SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0xbd, 0}}},
	VFNMSUB231PS: {"VFNMSUB231PS", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0xbe, 0}}},
	VFNMSUB231PD: {"VFNMSUB231PD", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0xbe, 0}}},
	VFNMSUB231SS: {"VFNMSUB231SS", []form{{rvm, x, xm4, p66 | m38 | both, 0xbf, 0}}},
	VFNMSUB231SD: {"VFNMSUB231SD", []form{{rvm, x, xm8, p66 | m38 | vw1 | ew1 | both, 0xbf, 0}}},
	VRSQRTPS:     {"VRSQRTPS", []form{{rm, v, vm, np | m0F | vex, 0x52, 0}}},
	VRCPPS:       {"VRCPPS", []form{{rm, v, vm, np | m0F | vex, 0x53, 0}}},
	VRSQRT14PS:   {"VRSQRT14PS", []form{{rm, v, vm, p66 | m38 | b4 | evex, 0x4e, 0}}},
	VRSQRT14PD:   {"VRSQRT14PD", []form{{rm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x4e, 0}}},
	VRCP14PS:     {"VRCP14PS", []form{{rm, v, vm, p66 | m38 | b4 | evex, 0x4c, 0}}},
	VRCP14PD:     {"VRCP14PD", []form{{rm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x4c, 0}}},
	VSCALEFPS:    {"VSCALEFPS", []form{{rvm, v, vm, p66 | m38 | b4 | evex, 0x2c, 0}}},
	VSCALEFPD:    {"VSCALEFPD", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x2c, 0}}},
	VGETEXPPS:    {"VGETEXPPS", []form{{rm, v, vm, p66 | m38 | b4 | evex, 0x42, 0}}},
	VGETEXPPD:    {"VGETEXPPD", []form{{rm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x42, 0}}},
	VGETMANTPS:   {"VGETMANTPS", []form{{rmi, v, vm, p66 | m3A | b4 | evex, 0x26, 0}}},
	VGETMANTPD:   {"VGETMANTPD", []form{{rmi, v, vm, p66 | m3A | b8 | ew1 | evex, 0x26, 0}}},
	VRNDSCALEPS:  {"VRNDSCALEPS", []form{{rmi, v, vm, p66 | m3A | b4 | evex, 0x08, 0}}},
	VRNDSCALEPD:  {"VRNDSCALEPD", []form{{rmi, v, vm, p66 | m3A | b8 | ew1 | evex, 0x09, 0}}},
	VREDUCEPS:    {"VREDUCEPS", []form{{rmi, v, vm, p66 | m3A | b4 | evex, 0x56, 0}}},
	VREDUCEPD:    {"VREDUCEPD", []form{{rmi, v, vm, p66 | m3A | b8 | ew1 | evex, 0x56, 0}}},
	VRANGEPS:     {"VRANGEPS", []form{{rvmi, v, vm, p66 | m3A | b4 | evex, 0x50, 0}}},
	VRANGEPD:     {"VRANGEPD", []form{{rvmi, v, vm, p66 | m3A | b8 | ew1 | evex, 0x50, 0}}},
	VFIXUPIMMPS:  {"VFIXUPIMMPS", []form{{rvmi, v, vm, p66 | m3A | b4 | evex, 0x54, 0}}},
	VFIXUPIMMPD:  {"VFIXUPIMMPD", []form{{rvmi, v, vm, p66 | m3A | b8 | ew1 | evex, 0x54, 0}}},
	VROUNDPS:     {"VROUNDPS", []form{{rmi, v, vm, p66 | m3A | vex, 0x08, 0}}},
	VROUNDPD:     {"VROUNDPD", []form{{rmi, v, vm, p66 | m3A | vex, 0x09, 0}}},
	VDPBF16PS:    {"VDPBF16PS", []form{{rvm, v, vm, pF3 | m38 | b4 | evex, 0x52, 0}}},

	// Comparisons: into a mask register with AVX-512, into a vector of all or no bits with AVX.
	VCMPPS:     {"VCMPPS", []form{{rvmi, v, vm, np | m0F | vex, 0xc2, 0}, {rvmi, k, vm, np | m0F | b4 | evex, 0xc2, 0}}},
	VCMPPD:     {"VCMPPD", []form{{rvmi, v, vm, p66 | m0F | vex, 0xc2, 0}, {rvmi, k, vm, p66 | m0F | b8 | ew1 | evex, 0xc2, 0}}},
	VFPCLASSPS: {"VFPCLASSPS", []form{{rmi, k, v, p66 | m3A | evex, 0x66, 0}}},
	VFPCLASSPD: {"VFPCLASSPD", []form{{rmi, k, v, p66 | m3A | ew1 | evex, 0x66, 0}}},
	VTESTPS:    {"VTESTPS", []form{{rm, v, vm, p66 | m38 | vex, 0x0e, 0}}},
	VTESTPD:    {"VTESTPD", []form{{rm, v, vm, p66 | m38 | vex, 0x0f, 0}}},
	VPTEST:     {"VPTEST", []form{{rm, v, vm, p66 | m38 | vex, 0x17, 0}}},
	VPCMPEQB:   {"VPCMPEQB", []form{{rvm, v, vm, p66 | m0F | vex, 0x74, 0}, {rvm, k, vm, p66 | m0F | evex, 0x74, 0}}},
	VPCMPEQW:   {"VPCMPEQW", []form{{rvm, v, vm, p66 | m0F | vex, 0x75, 0}, {rvm, k, vm, p66 | m0F | evex, 0x75, 0}}},
	VPCMPEQD:   {"VPCMPEQD", []form{{rvm, v, vm, p66 | m0F | vex, 0x76, 0}, {rvm, k, vm, p66 | m0F | b4 | evex, 0x76, 0}}},
	VPCMPEQQ:   {"VPCMPEQQ", []form{{rvm, v, vm, p66 | m38 | vex, 0x29, 0}, {rvm, k, vm, p66 | m38 | b8 | ew1 | evex, 0x29, 0}}},
	VPCMPGTB:   {"VPCMPGTB", []form{{rvm, v, vm, p66 | m0F | vex, 0x64, 0}, {rvm, k, vm, p66 | m0F | evex, 0x64, 0}}},
	VPCMPGTW:   {"VPCMPGTW", []form{{rvm, v, vm, p66 | m0F | vex, 0x65, 0}, {rvm, k, vm, p66 | m0F | evex, 0x65, 0}}},
	VPCMPGTD:   {"VPCMPGTD", []form{{rvm, v, vm, p66 | m0F | vex, 0x66, 0}, {rvm, k, vm, p66 | m0F | b4 | evex, 0x66, 0}}},
	VPCMPGTQ:   {"VPCMPGTQ", []form{{rvm, v, vm, p66 | m38 | vex, 0x37, 0}, {rvm, k, vm, p66 | m38 | b8 | ew1 | evex, 0x37, 0}}},
	VPCMPD:     {"VPCMPD", []form{{rvmi, k, vm, p66 | m3A | b4 | evex, 0x1f, 0}}},
	VPCMPUD:    {"VPCMPUD", []form{{rvmi, k, vm, p66 | m3A | b4 | evex, 0x1e, 0}}},
	VPCMPQ:     {"VPCMPQ", []form{{rvmi, k, vm, p66 | m3A | b8 | ew1 | evex, 0x1f, 0}}},
	VPCMPUQ:    {"VPCMPUQ", []form{{rvmi, k, vm, p66 | m3A | b8 | ew1 | evex, 0x1e, 0}}},
	VPCMPB:     {"VPCMPB", []form{{rvmi, k, vm, p66 | m3A | evex, 0x3f, 0}}},
	VPCMPUB:    {"VPCMPUB", []form{{rvmi, k, vm, p66 | m3A | evex, 0x3e, 0}}},
	VPCMPW:     {"VPCMPW", []form{{rvmi, k, vm, p66 | m3A | ew1 | evex, 0x3f, 0}}},
	VPCMPUW:    {"VPCMPUW", []form{{rvmi, k, vm, p66 | m3A | ew1 | evex, 0x3e, 0}}},
	VPTESTMD:   {"VPTESTMD", []form{{rvm, k, vm, p66 | m38 | b4 | evex, 0x27, 0}}},
	VPTESTMQ:   {"VPTESTMQ", []form{{rvm, k, vm, p66 | m38 | b8 | ew1 | evex, 0x27, 0}}},
	VPTESTMB:   {"VPTESTMB", []form{{rvm, k, vm, p66 | m38 | evex, 0x26, 0}}},
	VPTESTMW:   {"VPTESTMW", []form{{rvm, k, vm, p66 | m38 | ew1 | evex, 0x26, 0}}},
	VPTESTNMD:  {"VPTESTNMD", []form{{rvm, k, vm, pF3 | m38 | b4 | evex, 0x27, 0}}},
	VPTESTNMQ:  {"VPTESTNMQ", []form{{rvm, k, vm, pF3 | m38 | b8 | ew1 | evex, 0x27, 0}}},
	VPTESTNMB:  {"VPTESTNMB", []form{{rvm, k, vm, pF3 | m38 | evex, 0x26, 0}}},
	VPTESTNMW:  {"VPTESTNMW", []form{{rvm, k, vm, pF3 | m38 | ew1 | evex, 0x26, 0}}},

	// Integers.
	VPADDB:     {"VPADDB", []form{{rvm, v, vm, p66 | m0F | both, 0xfc, 0}}},
	VPADDW:     {"VPADDW", []form{{rvm, v, vm, p66 | m0F | both, 0xfd, 0}}},
	VPADDD:     {"VPADDD", []form{{rvm, v, vm, p66 | m0F | b4 | both, 0xfe, 0}}},
	VPADDQ:     {"VPADDQ", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0xd4, 0}}},
	VPSUBB:     {"VPSUBB", []form{{rvm, v, vm, p66 | m0F | both, 0xf8, 0}}},
	VPSUBW:     {"VPSUBW", []form{{rvm, v, vm, p66 | m0F | both, 0xf9, 0}}},
	VPSUBD:     {"VPSUBD", []form{{rvm, v, vm, p66 | m0F | b4 | both, 0xfa, 0}}},
	VPSUBQ:     {"VPSUBQ", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0xfb, 0}}},
	VPMULLW:    {"VPMULLW", []form{{rvm, v, vm, p66 | m0F | both, 0xd5, 0}}},
	VPMULLD:    {"VPMULLD", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x40, 0}}},
	VPMULUDQ:   {"VPMULUDQ", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0xf4, 0}}},
	VPMULDQ:    {"VPMULDQ", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | both, 0x28, 0}}},
	VPMADDWD:   {"VPMADDWD", []form{{rvm, v, vm, p66 | m0F | both, 0xf5, 0}}},
	VPMAXSB:    {"VPMAXSB", []form{{rvm, v, vm, p66 | m38 | both, 0x3c, 0}}},
	VPMAXUB:    {"VPMAXUB", []form{{rvm, v, vm, p66 | m0F | both, 0xde, 0}}},
	VPMINSB:    {"VPMINSB", []form{{rvm, v, vm, p66 | m38 | both, 0x38, 0}}},
	VPMINUB:    {"VPMINUB", []form{{rvm, v, vm, p66 | m0F | both, 0xda, 0}}},
	VPMAXSD:    {"VPMAXSD", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x3d, 0}}},
	VPMAXUD:    {"VPMAXUD", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x3f, 0}}},
	VPMINSD:    {"VPMINSD", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x39, 0}}},
	VPMINUD:    {"VPMINUD", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x3b, 0}}},
	VPMULLQ:    {"VPMULLQ", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x40, 0}}},
	VPMAXSQ:    {"VPMAXSQ", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x3d, 0}}},
	VPMAXUQ:    {"VPMAXUQ", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x3f, 0}}},
	VPMINSQ:    {"VPMINSQ", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x39, 0}}},
	VPMINUQ:    {"VPMINUQ", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x3b, 0}}},
	VPABSB:     {"VPABSB", []form{{rm, v, vm, p66 | m38 | both, 0x1c, 0}}},
	VPABSD:     {"VPABSD", []form{{rm, v, vm, p66 | m38 | b4 | both, 0x1e, 0}}},
	VPABSQ:     {"VPABSQ", []form{{rm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x1f, 0}}},
	VPLZCNTD:   {"VPLZCNTD", []form{{rm, v, vm, p66 | m38 | b4 | evex, 0x44, 0}}},
	VPAND:      {"VPAND", []form{{rvm, v, vm, p66 | m0F | vex, 0xdb, 0}}},
	VPANDD:     {"VPANDD", []form{{rvm, v, vm, p66 | m0F | b4 | evex, 0xdb, 0}}},
	VPANDQ:     {"VPANDQ", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | evex, 0xdb, 0}}},
	VPANDN:     {"VPANDN", []form{{rvm, v, vm, p66 | m0F | vex, 0xdf, 0}}},
	VPANDND:    {"VPANDND", []form{{rvm, v, vm, p66 | m0F | b4 | evex, 0xdf, 0}}},
	VPANDNQ:    {"VPANDNQ", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | evex, 0xdf, 0}}},
	VPOR:       {"VPOR", []form{{rvm, v, vm, p66 | m0F | vex, 0xeb, 0}}},
	VPORD:      {"VPORD", []form{{rvm, v, vm, p66 | m0F | b4 | evex, 0xeb, 0}}},
	VPORQ:      {"VPORQ", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | evex, 0xeb, 0}}},
	VPXOR:      {"VPXOR", []form{{rvm, v, vm, p66 | m0F | vex, 0xef, 0}}},
	VPXORD:     {"VPXORD", []form{{rvm, v, vm, p66 | m0F | b4 | evex, 0xef, 0}}},
	VPXORQ:     {"VPXORQ", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | evex, 0xef, 0}}},
	VPTERNLOGD: {"VPTERNLOGD", []form{{rvmi, v, vm, p66 | m3A | b4 | evex, 0x25, 0}}},
	VPTERNLOGQ: {"VPTERNLOGQ", []form{{rvmi, v, vm, p66 | m3A | b8 | ew1 | evex, 0x25, 0}}},

	// Shifts: by a constant, by the low 64 bits of an X register, lane by lane.
	VPSLLW:  {"VPSLLW", []form{{vmi, v, v, p66 | m0F | vex, 0x71, 6}, {vmi, v, vm, p66 | m0F | evex, 0x71, 6}, {rvm, v, xm16, p66 | m0F | both, 0xf1, 0}}},
	VPSRLW:  {"VPSRLW", []form{{vmi, v, v, p66 | m0F | vex, 0x71, 2}, {vmi, v, vm, p66 | m0F | evex, 0x71, 2}, {rvm, v, xm16, p66 | m0F | both, 0xd1, 0}}},
	VPSRAW:  {"VPSRAW", []form{{vmi, v, v, p66 | m0F | vex, 0x71, 4}, {vmi, v, vm, p66 | m0F | evex, 0x71, 4}, {rvm, v, xm16, p66 | m0F | both, 0xe1, 0}}},
	VPSLLD:  {"VPSLLD", []form{{vmi, v, v, p66 | m0F | vex, 0x72, 6}, {vmi, v, vm, p66 | m0F | b4 | evex, 0x72, 6}, {rvm, v, xm16, p66 | m0F | both, 0xf2, 0}}},
	VPSRLD:  {"VPSRLD", []form{{vmi, v, v, p66 | m0F | vex, 0x72, 2}, {vmi, v, vm, p66 | m0F | b4 | evex, 0x72, 2}, {rvm, v, xm16, p66 | m0F | both, 0xd2, 0}}},
	VPSRAD:  {"VPSRAD", []form{{vmi, v, v, p66 | m0F | vex, 0x72, 4}, {vmi, v, vm, p66 | m0F | b4 | evex, 0x72, 4}, {rvm, v, xm16, p66 | m0F | both, 0xe2, 0}}},
	VPSLLQ:  {"VPSLLQ", []form{{vmi, v, v, p66 | m0F | vex, 0x73, 6}, {vmi, v, vm, p66 | m0F | b8 | ew1 | evex, 0x73, 6}, {rvm, v, xm16, p66 | m0F | ew1 | both, 0xf3, 0}}},
	VPSRLQ:  {"VPSRLQ", []form{{vmi, v, v, p66 | m0F | vex, 0x73, 2}, {vmi, v, vm, p66 | m0F | b8 | ew1 | evex, 0x73, 2}, {rvm, v, xm16, p66 | m0F | ew1 | both, 0xd3, 0}}},
	VPSRAQ:  {"VPSRAQ", []form{{vmi, v, vm, p66 | m0F | b8 | ew1 | evex, 0x72, 4}, {rvm, v, xm16, p66 | m0F | ew1 | evex, 0xe2, 0}}},
	VPSLLVD: {"VPSLLVD", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x47, 0}}},
	VPSLLVQ: {"VPSLLVQ", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0x47, 0}}},
	VPSRLVD: {"VPSRLVD", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x45, 0}}},
	VPSRLVQ: {"VPSRLVQ", []form{{rvm, v, vm, p66 | m38 | b8 | vw1 | ew1 | both, 0x45, 0}}},
	VPSRAVD: {"VPSRAVD", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x46, 0}}},
	VPSRAVQ: {"VPSRAVQ", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x46, 0}}},
	VPROLVD: {"VPROLVD", []form{{rvm, v, vm, p66 | m38 | b4 | evex, 0x15, 0}}},
	VPRORVD: {"VPRORVD", []form{{rvm, v, vm, p66 | m38 | b4 | evex, 0x14, 0}}},
	VPROLD:  {"VPROLD", []form{{vmi, v, vm, p66 | m0F | b4 | evex, 0x72, 1}}},
	VPRORD:  {"VPRORD", []form{{vmi, v, vm, p66 | m0F | b4 | evex, 0x72, 0}}},

	// Permutations, shuffles and blends.
	VUNPCKLPS:     {"VUNPCKLPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x14, 0}}},
	VUNPCKLPD:     {"VUNPCKLPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x14, 0}}},
	VUNPCKHPS:     {"VUNPCKHPS", []form{{rvm, v, vm, np | m0F | b4 | both, 0x15, 0}}},
	VUNPCKHPD:     {"VUNPCKHPD", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x15, 0}}},
	VPUNPCKLBW:    {"VPUNPCKLBW", []form{{rvm, v, vm, p66 | m0F | both, 0x60, 0}}},
	VPUNPCKLWD:    {"VPUNPCKLWD", []form{{rvm, v, vm, p66 | m0F | both, 0x61, 0}}},
	VPUNPCKLDQ:    {"VPUNPCKLDQ", []form{{rvm, v, vm, p66 | m0F | b4 | both, 0x62, 0}}},
	VPUNPCKLQDQ:   {"VPUNPCKLQDQ", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x6c, 0}}},
	VPUNPCKHBW:    {"VPUNPCKHBW", []form{{rvm, v, vm, p66 | m0F | both, 0x68, 0}}},
	VPUNPCKHWD:    {"VPUNPCKHWD", []form{{rvm, v, vm, p66 | m0F | both, 0x69, 0}}},
	VPUNPCKHDQ:    {"VPUNPCKHDQ", []form{{rvm, v, vm, p66 | m0F | b4 | both, 0x6a, 0}}},
	VPUNPCKHQDQ:   {"VPUNPCKHQDQ", []form{{rvm, v, vm, p66 | m0F | b8 | ew1 | both, 0x6d, 0}}},
	VPACKSSDW:     {"VPACKSSDW", []form{{rvm, v, vm, p66 | m0F | b4 | both, 0x6b, 0}}},
	VPACKUSDW:     {"VPACKUSDW", []form{{rvm, v, vm, p66 | m38 | b4 | both, 0x2b, 0}}},
	VPACKSSWB:     {"VPACKSSWB", []form{{rvm, v, vm, p66 | m0F | both, 0x63, 0}}},
	VPACKUSWB:     {"VPACKUSWB", []form{{rvm, v, vm, p66 | m0F | both, 0x67, 0}}},
	VSHUFPS:       {"VSHUFPS", []form{{rvmi, v, vm, np | m0F | b4 | both, 0xc6, 0}}},
	VSHUFPD:       {"VSHUFPD", []form{{rvmi, v, vm, p66 | m0F | b8 | ew1 | both, 0xc6, 0}}},
	VPSHUFD:       {"VPSHUFD", []form{{rmi, v, vm, p66 | m0F | b4 | both, 0x70, 0}}},
	VPSHUFB:       {"VPSHUFB", []form{{rvm, v, vm, p66 | m38 | both, 0x00, 0}}},
	VPERMILPS:     {"VPERMILPS", []form{{rmi, v, vm, p66 | m3A | b4 | both, 0x04, 0}, {rvm, v, vm, p66 | m38 | b4 | both, 0x0c, 0}}},
	VPERMILPD:     {"VPERMILPD", []form{{rmi, v, vm, p66 | m3A | b8 | ew1 | both, 0x05, 0}, {rvm, v, vm, p66 | m38 | b8 | ew1 | both, 0x0d, 0}}},
	VPERMPS:       {"VPERMPS", []form{{rvm, v, vm, p66 | m38 | b4 | both | from32, 0x16, 0}}},
	VPERMD:        {"VPERMD", []form{{rvm, v, vm, p66 | m38 | b4 | both | from32, 0x36, 0}}},
	VPERMPD:       {"VPERMPD", []form{{rmi, v, vm, p66 | m3A | b8 | vw1 | ew1 | both | from32, 0x01, 0}, {rvm, v, vm, p66 | m38 | b8 | ew1 | evex | from32, 0x16, 0}}},
	VPERMQ:        {"VPERMQ", []form{{rmi, v, vm, p66 | m3A | b8 | vw1 | ew1 | both | from32, 0x00, 0}, {rvm, v, vm, p66 | m38 | b8 | ew1 | evex | from32, 0x36, 0}}},
	VPERMW:        {"VPERMW", []form{{rvm, v, vm, p66 | m38 | ew1 | evex, 0x8d, 0}}},
	VPERMT2PS:     {"VPERMT2PS", []form{{rvm, v, vm, p66 | m38 | b4 | evex, 0x7f, 0}}},
	VPERMI2PS:     {"VPERMI2PS", []form{{rvm, v, vm, p66 | m38 | b4 | evex, 0x77, 0}}},
	VPERMT2PD:     {"VPERMT2PD", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x7f, 0}}},
	VPERMI2PD:     {"VPERMI2PD", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x77, 0}}},
	VPERMT2D:      {"VPERMT2D", []form{{rvm, v, vm, p66 | m38 | b4 | evex, 0x7e, 0}}},
	VPERMI2D:      {"VPERMI2D", []form{{rvm, v, vm, p66 | m38 | b4 | evex, 0x76, 0}}},
	VPERMT2Q:      {"VPERMT2Q", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x7e, 0}}},
	VPERMI2Q:      {"VPERMI2Q", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x76, 0}}},
	VPERMT2W:      {"VPERMT2W", []form{{rvm, v, vm, p66 | m38 | ew1 | evex, 0x7d, 0}}},
	VPERMI2W:      {"VPERMI2W", []form{{rvm, v, vm, p66 | m38 | ew1 | evex, 0x75, 0}}},
	VPERM2F128:    {"VPERM2F128", []form{{rvmi, v, vm, p66 | m3A | vex | from32, 0x06, 0}}},
	VPERM2I128:    {"VPERM2I128", []form{{rvmi, v, vm, p66 | m3A | vex | from32, 0x46, 0}}},
	VSHUFF32X4:    {"VSHUFF32X4", []form{{rvmi, v, vm, p66 | m3A | b4 | evex | from32, 0x23, 0}}},
	VSHUFF64X2:    {"VSHUFF64X2", []form{{rvmi, v, vm, p66 | m3A | b8 | ew1 | evex | from32, 0x23, 0}}},
	VSHUFI32X4:    {"VSHUFI32X4", []form{{rvmi, v, vm, p66 | m3A | b4 | evex | from32, 0x43, 0}}},
	VSHUFI64X2:    {"VSHUFI64X2", []form{{rvmi, v, vm, p66 | m3A | b8 | ew1 | evex | from32, 0x43, 0}}},
	VALIGND:       {"VALIGND", []form{{rvmi, v, vm, p66 | m3A | b4 | evex, 0x03, 0}}},
	VALIGNQ:       {"VALIGNQ", []form{{rvmi, v, vm, p66 | m3A | b8 | ew1 | evex, 0x03, 0}}},
	VPALIGNR:      {"VPALIGNR", []form{{rvmi, v, vm, p66 | m3A | both, 0x0f, 0}}},
	VINSERTF128:   {"VINSERTF128", []form{{rvmi, v, xm16, p66 | m3A | vex | from32, 0x18, 0}}},
	VEXTRACTF128:  {"VEXTRACTF128", []form{{mri, v, xm16, p66 | m3A | vex | from32, 0x19, 0}}},
	VINSERTI128:   {"VINSERTI128", []form{{rvmi, v, xm16, p66 | m3A | vex | from32, 0x38, 0}}},
	VEXTRACTI128:  {"VEXTRACTI128", []form{{mri, v, xm16, p66 | m3A | vex | from32, 0x39, 0}}},
	VINSERTF32X4:  {"VINSERTF32X4", []form{{rvmi, v, xm16, p66 | m3A | evex | from32, 0x18, 0}}},
	VEXTRACTF32X4: {"VEXTRACTF32X4", []form{{mri, v, xm16, p66 | m3A | evex | from32, 0x19, 0}}},
	VINSERTI32X4:  {"VINSERTI32X4", []form{{rvmi, v, xm16, p66 | m3A | evex | from32, 0x38, 0}}},
	VEXTRACTI32X4: {"VEXTRACTI32X4", []form{{mri, v, xm16, p66 | m3A | evex | from32, 0x39, 0}}},
	VINSERTF64X4:  {"VINSERTF64X4", []form{{rvmi, v, hm, p66 | m3A | ew1 | evex | only64, 0x1a, 0}}},
	VEXTRACTF64X4: {"VEXTRACTF64X4", []form{{mri, v, hm, p66 | m3A | ew1 | evex | only64, 0x1b, 0}}},
	VINSERTI64X4:  {"VINSERTI64X4", []form{{rvmi, v, hm, p66 | m3A | ew1 | evex | only64, 0x3a, 0}}},
	VEXTRACTI64X4: {"VEXTRACTI64X4", []form{{mri, v, hm, p66 | m3A | ew1 | evex | only64, 0x3b, 0}}},
	VPEXTRB:       {"VPEXTRB", []form{{mri, x, rm1, p66 | m3A | both | unmasked, 0x14, 0}}},
	VPINSRB:       {"VPINSRB", []form{{rvmi, x, rm1, p66 | m3A | both | unmasked, 0x20, 0}}},
	VPEXTRW:       {"VPEXTRW", []form{{mri, x, rm2, p66 | m3A | both | unmasked, 0x15, 0}}},
	VPINSRW:       {"VPINSRW", []form{{rvmi, x, rm2, p66 | m0F | both | unmasked, 0xc4, 0}}},
	VPEXTRD:       {"VPEXTRD", []form{{mri, x, rm4, p66 | m3A | both | unmasked, 0x16, 0}}},
	VPINSRD:       {"VPINSRD", []form{{rvmi, x, rm4, p66 | m3A | both | unmasked, 0x22, 0}}},
	VPEXTRQ:       {"VPEXTRQ", []form{{mri, x, rm8, p66 | m3A | vw1 | ew1 | both | unmasked, 0x16, 0}}},
	VPINSRQ:       {"VPINSRQ", []form{{rvmi, x, rm8, p66 | m3A | vw1 | ew1 | both | unmasked, 0x22, 0}}},
	VBLENDVPS:     {"VBLENDVPS", []form{{rvmr, v, vm, p66 | m3A | vex, 0x4a, 0}}},
	VBLENDVPD:     {"VBLENDVPD", []form{{rvmr, v, vm, p66 | m3A | vex, 0x4b, 0}}},
	VPBLENDVB:     {"VPBLENDVB", []form{{rvmr, v, vm, p66 | m3A | vex, 0x4c, 0}}},
	VBLENDPS:      {"VBLENDPS", []form{{rvmi, v, vm, p66 | m3A | vex, 0x0c, 0}}},
	VBLENDPD:      {"VBLENDPD", []form{{rvmi, v, vm, p66 | m3A | vex, 0x0d, 0}}},
	VPBLENDD:      {"VPBLENDD", []form{{rvmi, v, vm, p66 | m3A | vex, 0x02, 0}}},
	VBLENDMPS:     {"VBLENDMPS", []form{{rvm, v, vm, p66 | m38 | b4 | evex, 0x65, 0}}},
	VBLENDMPD:     {"VBLENDMPD", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x65, 0}}},
	VPBLENDMD:     {"VPBLENDMD", []form{{rvm, v, vm, p66 | m38 | b4 | evex, 0x64, 0}}},
	VPBLENDMQ:     {"VPBLENDMQ", []form{{rvm, v, vm, p66 | m38 | b8 | ew1 | evex, 0x64, 0}}},
	VPBLENDMB:     {"VPBLENDMB", []form{{rvm, v, vm, p66 | m38 | evex, 0x66, 0}}},
	VPBLENDMW:     {"VPBLENDMW", []form{{rvm, v, vm, p66 | m38 | ew1 | evex, 0x66, 0}}},

	// Conversions.
	VCVTDQ2PS:      {"VCVTDQ2PS", []form{{rm, v, vm, np | m0F | b4 | both, 0x5b, 0}}},
	VCVTPS2DQ:      {"VCVTPS2DQ", []form{{rm, v, vm, p66 | m0F | b4 | both, 0x5b, 0}}},
	VCVTTPS2DQ:     {"VCVTTPS2DQ", []form{{rm, v, vm, pF3 | m0F | b4 | both, 0x5b, 0}}},
	VCVTUDQ2PS:     {"VCVTUDQ2PS", []form{{rm, v, vm, pF2 | m0F | b4 | evex, 0x7a, 0}}},
	VCVTPS2UDQ:     {"VCVTPS2UDQ", []form{{rm, v, vm, np | m0F | b4 | evex, 0x79, 0}}},
	VCVTTPS2UDQ:    {"VCVTTPS2UDQ", []form{{rm, v, vm, np | m0F | b4 | evex, 0x78, 0}}},
	VCVTPS2PD:      {"VCVTPS2PD", []form{{rm, v, hm, np | m0F | b4 | both, 0x5a, 0}}},
	VCVTPD2PS:      {"VCVTPD2PS", []form{{rm, h, vm, p66 | m0F | b8 | ew1 | both, 0x5a, 0}}},
	VCVTDQ2PD:      {"VCVTDQ2PD", []form{{rm, v, hm, pF3 | m0F | b4 | both, 0xe6, 0}}},
	VCVTPD2DQ:      {"VCVTPD2DQ", []form{{rm, h, vm, pF2 | m0F | b8 | ew1 | both, 0xe6, 0}}},
	VCVTTPD2DQ:     {"VCVTTPD2DQ", []form{{rm, h, vm, p66 | m0F | b8 | ew1 | both, 0xe6, 0}}},
	VCVTQQ2PS:      {"VCVTQQ2PS", []form{{rm, h, vm, np | m0F | b8 | ew1 | evex, 0x5b, 0}}},
	VCVTQQ2PD:      {"VCVTQQ2PD", []form{{rm, v, vm, pF3 | m0F | b8 | ew1 | evex, 0xe6, 0}}},
	VCVTPS2QQ:      {"VCVTPS2QQ", []form{{rm, v, hm, p66 | m0F | b4 | evex, 0x7b, 0}}},
	VCVTTPS2QQ:     {"VCVTTPS2QQ", []form{{rm, v, hm, p66 | m0F | b4 | evex, 0x7a, 0}}},
	VCVTPD2QQ:      {"VCVTPD2QQ", []form{{rm, v, vm, p66 | m0F | b8 | ew1 | evex, 0x7b, 0}}},
	VCVTTPD2QQ:     {"VCVTTPD2QQ", []form{{rm, v, vm, p66 | m0F | b8 | ew1 | evex, 0x7a, 0}}},
	VCVTPH2PS:      {"VCVTPH2PS", []form{{rm, v, hm, p66 | m38 | both, 0x13, 0}}},
	VCVTPS2PH:      {"VCVTPS2PH", []form{{mri, v, hm, p66 | m3A | both, 0x1d, 0}}},
	VCVTNEPS2BF16:  {"VCVTNEPS2BF16", []form{{rm, h, vm, pF3 | m38 | b4 | evex, 0x72, 0}}},
	VCVTNE2PS2BF16: {"VCVTNE2PS2BF16", []form{{rvm, v, vm, pF2 | m38 | b4 | evex, 0x72, 0}}},
	VPMOVZXBW:      {"VPMOVZXBW", []form{{rm, v, hm, p66 | m38 | both, 0x30, 0}}},
	VPMOVSXBW:      {"VPMOVSXBW", []form{{rm, v, hm, p66 | m38 | both, 0x20, 0}}},
	VPMOVZXBD:      {"VPMOVZXBD", []form{{rm, v, qm, p66 | m38 | both, 0x31, 0}}},
	VPMOVSXBD:      {"VPMOVSXBD", []form{{rm, v, qm, p66 | m38 | both, 0x21, 0}}},
	VPMOVZXBQ:      {"VPMOVZXBQ", []form{{rm, v, em, p66 | m38 | both, 0x32, 0}}},
	VPMOVSXBQ:      {"VPMOVSXBQ", []form{{rm, v, em, p66 | m38 | both, 0x22, 0}}},
	VPMOVZXWD:      {"VPMOVZXWD", []form{{rm, v, hm, p66 | m38 | both, 0x33, 0}}},
	VPMOVSXWD:      {"VPMOVSXWD", []form{{rm, v, hm, p66 | m38 | both, 0x23, 0}}},
	VPMOVZXWQ:      {"VPMOVZXWQ", []form{{rm, v, qm, p66 | m38 | both, 0x34, 0}}},
	VPMOVSXWQ:      {"VPMOVSXWQ", []form{{rm, v, qm, p66 | m38 | both, 0x24, 0}}},
	VPMOVZXDQ:      {"VPMOVZXDQ", []form{{rm, v, hm, p66 | m38 | both, 0x35, 0}}},
	VPMOVSXDQ:      {"VPMOVSXDQ", []form{{rm, v, hm, p66 | m38 | both, 0x25, 0}}},
	VPMOVWB:        {"VPMOVWB", []form{{mr, v, hm, pF3 | m38 | evex, 0x30, 0}}},
	VPMOVSWB:       {"VPMOVSWB", []form{{mr, v, hm, pF3 | m38 | evex, 0x20, 0}}},
	VPMOVUSWB:      {"VPMOVUSWB", []form{{mr, v, hm, pF3 | m38 | evex, 0x10, 0}}},
	VPMOVDB:        {"VPMOVDB", []form{{mr, v, qm, pF3 | m38 | evex, 0x31, 0}}},
	VPMOVSDB:       {"VPMOVSDB", []form{{mr, v, qm, pF3 | m38 | evex, 0x21, 0}}},
	VPMOVUSDB:      {"VPMOVUSDB", []form{{mr, v, qm, pF3 | m38 | evex, 0x11, 0}}},
	VPMOVQB:        {"VPMOVQB", []form{{mr, v, em, pF3 | m38 | evex, 0x32, 0}}},
	VPMOVSQB:       {"VPMOVSQB", []form{{mr, v, em, pF3 | m38 | evex, 0x22, 0}}},
	VPMOVUSQB:      {"VPMOVUSQB", []form{{mr, v, em, pF3 | m38 | evex, 0x12, 0}}},
	VPMOVDW:        {"VPMOVDW", []form{{mr, v, hm, pF3 | m38 | evex, 0x33, 0}}},
	VPMOVSDW:       {"VPMOVSDW", []form{{mr, v, hm, pF3 | m38 | evex, 0x23, 0}}},
	VPMOVUSDW:      {"VPMOVUSDW", []form{{mr, v, hm, pF3 | m38 | evex, 0x13, 0}}},
	VPMOVQW:        {"VPMOVQW", []form{{mr, v, qm, pF3 | m38 | evex, 0x34, 0}}},
	VPMOVSQW:       {"VPMOVSQW", []form{{mr, v, qm, pF3 | m38 | evex, 0x24, 0}}},
	VPMOVUSQW:      {"VPMOVUSQW", []form{{mr, v, qm, pF3 | m38 | evex, 0x14, 0}}},
	VPMOVQD:        {"VPMOVQD", []form{{mr, v, hm, pF3 | m38 | evex, 0x35, 0}}},
	VPMOVSQD:       {"VPMOVSQD", []form{{mr, v, hm, pF3 | m38 | evex, 0x25, 0}}},
	VPMOVUSQD:      {"VPMOVUSQD", []form{{mr, v, hm, pF3 | m38 | evex, 0x15, 0}}},
	VPMOVM2B:       {"VPMOVM2B", []form{{rm, v, k, pF3 | m38 | evex | unmasked, 0x28, 0}}},
	VPMOVB2M:       {"VPMOVB2M", []form{{rm, k, v, pF3 | m38 | evex | unmasked, 0x29, 0}}},
	VPMOVM2W:       {"VPMOVM2W", []form{{rm, v, k, pF3 | m38 | ew1 | evex | unmasked, 0x28, 0}}},
	VPMOVW2M:       {"VPMOVW2M", []form{{rm, k, v, pF3 | m38 | ew1 | evex | unmasked, 0x29, 0}}},
	VPMOVM2D:       {"VPMOVM2D", []form{{rm, v, k, pF3 | m38 | evex | unmasked, 0x38, 0}}},
	VPMOVD2M:       {"VPMOVD2M", []form{{rm, k, v, pF3 | m38 | evex | unmasked, 0x39, 0}}},
	VPMOVM2Q:       {"VPMOVM2Q", []form{{rm, v, k, pF3 | m38 | ew1 | evex | unmasked, 0x38, 0}}},
	VPMOVQ2M:       {"VPMOVQ2M", []form{{rm, k, v, pF3 | m38 | ew1 | evex | unmasked, 0x39, 0}}},
}
