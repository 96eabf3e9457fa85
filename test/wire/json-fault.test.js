import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeJsonFault, findJsonFault } from '../../src/wire/json-fault.js';
function told(text) {
    const fault = findJsonFault(text);
    return fault === undefined ? undefined : describeJsonFault(text, fault);
}
describe('findJsonFault', () => {
    it.each([
        ['', 'unexpected end at line 1, column 1'],
        ['{"a":}', 'unexpected "}" at line 1, column 6'],
        ['{"a":1,}', 'unexpected "}" at line 1, column 8'],
        ['{"a":1,\n "b" 2}', 'unexpected "2" at line 2, column 6'],
        ['[1,]', 'unexpected "]" at line 1, column 4'],
        ['[1 2]', 'unexpected "2" at line 1, column 4'],
        ['{a:1}', 'unexpected "a" at line 1, column 2'],
        ["{'a':1}", `unexpected "'" at line 1, column 2`],
        ['[01]', 'unexpected "1" at line 1, column 3'],
        ['[1.]', 'unexpected "]" at line 1, column 4'],
        ['-', 'unexpected end at line 1, column 2'],
        ['nul', 'unexpected end at line 1, column 4'],
        ['NaN', 'unexpected "N" at line 1, column 1'],
        ['{"a":1', 'unexpected end at line 1, column 7'],
        ['"a\nb"', 'unexpected "\\n" at line 1, column 3'],
        ['"\\x"', 'unexpected "x" at line 1, column 3'],
        ['"\\u12G4"', 'unexpected "G" at line 1, column 6'],
        ['"\\', 'unexpected end at line 1, column 3'],
        ['[1]😀', 'unexpected "😀" at line 1, column 4'],
        ['[1}', 'unexpected "}" at line 1, column 3'],
    ])('tells where %j stops being JSON', (text, place) => {
        expect(told(text)).toBe(place);
    });
    it('finds none in any JSON', () => {
        fc.assert(fc.property(fc.json({ maxDepth: 8 }), fc.constantFrom(undefined, 2, '\t'), (json, indent) => {
            expect(findJsonFault(JSON.stringify(JSON.parse(json), null, indent))).toBeUndefined();
        }));
    });
    it('agrees with JSON.parse on what is JSON, and the text before a fault can still become JSON', () => {
        const mutation = fc.tuple(fc.json({ maxDepth: 3 }), fc.nat(), fc.nat(3), fc.constantFrom(...'{}[],:"\\u0eE+-.tfn \n'));
        fc.assert(fc.property(mutation, ([json, where, removed, inserted]) => {
            const at = where % (json.length + 1);
            const text = json.slice(0, at) + inserted + json.slice(at + removed);
            const fault = findJsonFault(text);
            expect(fault === undefined).toBe(isJson(text));
            if (fault === undefined)
                return;
            const prefixFault = findJsonFault(text.slice(0, fault.position));
            if (prefixFault !== undefined)
                expect(prefixFault.position).toBe(fault.position);
        }), { numRuns: 2_000 });
    });
    it('refuses nesting beyond 256 levels without walking on', () => {
        expect(findJsonFault('['.repeat(256) + ']'.repeat(256))).toBeUndefined();
        expect(told('['.repeat(1_000_000))).toBe('nested deeper than 256 levels at line 1, column 257');
    });
});
function isJson(text) {
    try {
        JSON.parse(text);
        return true;
    }
    catch {
        return false;
    }
}
