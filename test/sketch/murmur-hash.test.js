import fc from 'fast-check';
import { expect, test } from 'vitest';
import { murmurHash64 } from '../../src/sketch/murmur-hash.js';
/** The definition, in the arithmetic it is defined in. */
function reference(bytes) {
    const mask = (1n << 64n) - 1n;
    const m = 0xc6a4a7935bd1e995n;
    const word = (from, to) => bytes.subarray(from, to).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    let h = 0xadc83b19n ^ ((BigInt(bytes.length) * m) & mask);
    const whole = bytes.length - (bytes.length % 8);
    for (let i = 0; i < whole; i += 8) {
        let k = (word(i, i + 8) * m) & mask;
        k ^= k >> 47n;
        h = ((h ^ ((k * m) & mask)) * m) & mask;
    }
    if (whole < bytes.length)
        h = ((h ^ word(whole, bytes.length)) * m) & mask;
    h = ((h ^ (h >> 47n)) * m) & mask;
    return h ^ (h >> 47n);
}
function hashed(bytes) {
    const halves = new Int32Array(2);
    murmurHash64(bytes, bytes.length, halves);
    return (BigInt(halves[1] >>> 0) << 32n) | BigInt(halves[0] >>> 0);
}
test('the hash equals its definition in 64-bit arithmetic, for random bytes of every length up to 64', () => {
    for (let length = 0; length <= 64; length++) {
        fc.assert(fc.property(fc.uint8Array({ minLength: length, maxLength: length }), (bytes) => {
            expect(hashed(bytes)).toBe(reference(bytes));
        }), { numRuns: 50 });
    }
});
test('bytes with all bits set carry through every half', () => {
    for (let length = 0; length <= 40; length++) {
        const bytes = new Uint8Array(length).fill(0xff);
        expect(hashed(bytes)).toBe(reference(bytes));
    }
});
test('bytes beyond the length do not count', () => {
    const halves = new Int32Array(2);
    const same = new Int32Array(2);
    murmurHash64(Uint8Array.of(1, 2, 3, 4, 5), 3, halves);
    murmurHash64(Uint8Array.of(1, 2, 3), 3, same);
    expect(halves).toEqual(same);
});
