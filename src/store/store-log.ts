/** Where a store logs what its operator should know. */
export interface StoreLog {
  warn(details: object, message: string): void
}
