/* What is the same in every dialect. */
#ifdef SHUFFLE
FN f32 shuffle_xor_f32(f32 v, i32 m) { return f32_of_bits(shuffle_xor_u32(bits_f32(v), m)); }
FN i32 shuffle_xor_i32(i32 v, i32 m) { return (i32)shuffle_xor_u32((u32)v, m); }
FN u64 shuffle_xor_u64(u64 v, i32 m) { return (u64)shuffle_xor_u32((u32)(v >> 32), m) << 32 | shuffle_xor_u32((u32)v, m); }
FN i64 shuffle_xor_i64(i64 v, i32 m) { return (i64)shuffle_xor_u64((u64)v, m); }
FN f32 shuffle_down_f32(f32 v, i32 d) { return f32_of_bits(shuffle_down_u32(bits_f32(v), d)); }
FN i32 shuffle_down_i32(i32 v, i32 d) { return (i32)shuffle_down_u32((u32)v, d); }
FN u64 shuffle_down_u64(u64 v, i32 d) { return (u64)shuffle_down_u32((u32)(v >> 32), d) << 32 | shuffle_down_u32((u32)v, d); }
FN i64 shuffle_down_i64(i64 v, i32 d) { return (i64)shuffle_down_u64((u64)v, d); }
FN f32 shuffle_up_f32(f32 v, i32 d) { return f32_of_bits(shuffle_up_u32(bits_f32(v), d)); }
FN i32 shuffle_up_i32(i32 v, i32 d) { return (i32)shuffle_up_u32((u32)v, d); }
FN u64 shuffle_up_u64(u64 v, i32 d) { return (u64)shuffle_up_u32((u32)(v >> 32), d) << 32 | shuffle_up_u32((u32)v, d); }
FN i64 shuffle_up_i64(i64 v, i32 d) { return (i64)shuffle_up_u64((u64)v, d); }
FN f32 shuffle_f32(f32 v, i32 l) { return f32_of_bits(shuffle_u32(bits_f32(v), l)); }
FN i32 shuffle_i32(i32 v, i32 l) { return (i32)shuffle_u32((u32)v, l); }
FN u64 shuffle_u64(u64 v, i32 l) { return (u64)shuffle_u32((u32)(v >> 32), l) << 32 | shuffle_u32((u32)v, l); }
FN i64 shuffle_i64(i64 v, i32 l) { return (i64)shuffle_u64((u64)v, l); }
#ifdef FLOAT64
FN f64 shuffle_xor_f64(f64 v, i32 m) { return f64_of_bits(shuffle_xor_u64(bits_f64(v), m)); }
FN f64 shuffle_down_f64(f64 v, i32 d) { return f64_of_bits(shuffle_down_u64(bits_f64(v), d)); }
FN f64 shuffle_up_f64(f64 v, i32 d) { return f64_of_bits(shuffle_up_u64(bits_f64(v), d)); }
FN f64 shuffle_f64(f64 v, i32 l) { return f64_of_bits(shuffle_u64(bits_f64(v), l)); }
#endif
#endif

FN i32 max_i32(i32 a, i32 b) { return a > b ? a : b; }
FN i32 min_i32(i32 a, i32 b) { return a < b ? a : b; }
FN i64 max_i64(i64 a, i64 b) { return a > b ? a : b; }
FN i64 min_i64(i64 a, i64 b) { return a < b ? a : b; }
FN f32 sign_f32(f32 a) { return a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : a; }
FN f32 logistic_f32(f32 a) { return rcp_f32(1.0f + exp_f32(-a)); }
#ifdef FLOAT64
FN f64 sign_f64(f64 a) { return a > 0.0 ? 1.0 : a < 0.0 ? -1.0 : a; }
FN f64 logistic_f64(f64 a) { return 1.0 / (1.0 + exp_f64(-a)); }
#endif
FN f32 round_f16(f32 a) { return f32_of_f16(f16_of_f32(a)); }
FN f32 round_bf16(f32 a) { return f32_of_bf16(bf16_of_f32(a)); }

/* Integers wrap, and nothing traps. */
FN i32 add_i32(i32 a, i32 b) { return (i32)((u32)a + (u32)b); }
FN i32 sub_i32(i32 a, i32 b) { return (i32)((u32)a - (u32)b); }
FN i32 mul_i32(i32 a, i32 b) { return (i32)((u32)a * (u32)b); }
FN i64 add_i64(i64 a, i64 b) { return (i64)((u64)a + (u64)b); }
FN i64 sub_i64(i64 a, i64 b) { return (i64)((u64)a - (u64)b); }
FN i64 mul_i64(i64 a, i64 b) { return (i64)((u64)a * (u64)b); }
FN i32 div_i32(i32 a, i32 b) { return b == 0 ? 0 : b == -1 ? sub_i32(0, a) : a / b; }
FN i64 div_i64(i64 a, i64 b) { return b == 0 ? 0 : b == -1 ? sub_i64(0, a) : a / b; }
FN i32 rem_i32(i32 a, i32 b) { return b == 0 || b == -1 ? 0 : a % b; }
FN i64 rem_i64(i64 a, i64 b) { return b == 0 || b == -1 ? 0 : a % b; }
FN i64 pow_i64(i64 a, i64 b) {
	if (b < 0) return a == 1 ? 1 : a == -1 ? ((b & 1) ? -1 : 1) : 0;
	u64 p = 1, q = (u64)a;
	for (; b > 0; b >>= 1) {
		if (b & 1) p *= q;
		q *= q;
	}
	return (i64)p;
}

/* Conversions of floats to integers cut off, saturate, and take NaN for zero. */
FN i32 i32_of_f32(f32 x) { return x != x ? 0 : x <= -2147483648.0f ? -2147483647 - 1 : x >= 2147483648.0f ? 2147483647 : (i32)x; }
FN i64 i64_of_f32(f32 x) {
	return x != x ? 0 : x <= -9223372036854775808.0f ? (i64)((u64)1 << 63) : x >= 9223372036854775808.0f ? (i64)~((u64)1 << 63) : (i64)x;
}
FN i32 i8_of_f32(f32 x) { return max_i32(-128, min_i32(127, i32_of_f32(x))); }
FN i32 u8_of_f32(f32 x) { return max_i32(0, min_i32(255, i32_of_f32(x))); }
#ifdef FLOAT64
FN i32 i32_of_f64(f64 x) { return x != x ? 0 : x <= -2147483648.0 ? -2147483647 - 1 : x >= 2147483647.0 ? 2147483647 : (i32)x; }
FN i64 i64_of_f64(f64 x) {
	return x != x ? 0 : x <= -9223372036854775808.0 ? (i64)((u64)1 << 63) : x >= 9223372036854775808.0 ? (i64)~((u64)1 << 63) : (i64)x;
}
FN i32 i8_of_f64(f64 x) { return max_i32(-128, min_i32(127, i32_of_f64(x))); }
FN i32 u8_of_f64(f64 x) { return max_i32(0, min_i32(255, i32_of_f64(x))); }
#endif

/* Words of 16 and 8 bits within one of 32. */
FN u16 half_word(u32 w, i32 i) { return (u16)(w >> 16 * i); }
FN u8 byte_word(u32 w, i32 i) { return (u8)(w >> 8 * i); }

/* Philox4x32-10: the block with the random words of elements 4c … 4c+3 at a step. */
FN void philox_block(u64 c, u64 step, u32 k0, u32 k1, u32 *r0, u32 *r1, u32 *r2, u32 *r3) {
	u32 c0 = (u32)c, c1 = (u32)(c >> 32), c2 = (u32)step, c3 = (u32)(step >> 32);
	UNROLL
	for (i32 i = 0; i < 10; i++) {
		u64 p0 = (u64)c0 * 0xd2511f53u, p1 = (u64)c2 * 0xcd9e8d57u;
		c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
		c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
		c1 = (u32)p1;
		c3 = (u32)p0;
		k0 += 0x9e3779b9u;
		k1 += 0xbb67ae85u;
	}
	*r0 = c0; *r1 = c1; *r2 = c2; *r3 = c3;
}
FN i32 philox_word(u64 element, u64 step, u32 k0, u32 k1) {
	u32 r0, r1, r2, r3;
	philox_block(element >> 2, step, k0, k1, &r0, &r1, &r2, &r3);
	return (i32)((element & 2) ? (element & 1) ? r3 : r2 : (element & 1) ? r1 : r0);
}
