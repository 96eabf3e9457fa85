/** Encodes bytes as base64, in the form that the JSON mapping of protobuf uses. */
export function encodeBase64(bytes: Uint8Array): string {
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}
