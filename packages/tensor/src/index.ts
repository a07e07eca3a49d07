/// <reference types="@webgpu/types" preserve="true" />
export {};
